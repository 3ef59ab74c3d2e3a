//! One kind of user, whether the proxy named it or the application's own login did. No database, and no session.
//!
//! ```sh
//! cargo run --example own_login              # plays the script, then serves until Ctrl-C
//! cargo run --example own_login -- --once    # ends after the script; status 0 only if every step held
//! ```
//!
//! Handlers and templates take a [`User`], and do not ask where it came from. Browsers are asked for name and
//! password at `/login` (RFC 7617), and send them along from then on; `session_login` is the example with a form.

use std::net::SocketAddr;
use std::process::ExitCode;

use axum::Router;
use axum::extract::{FromRef, FromRequestParts};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Parser;
use http::{StatusCode, header, request};
use tower_proxied::{DetachedUser, ProxyRemoteUserLayer, RemoteUser};

#[path = "support/accounts.rs"]
mod accounts;
#[path = "support/basic.rs"]
mod basic;
#[path = "support/browser.rs"]
mod browser;
#[path = "support/html.rs"]
mod html;
#[path = "support/serve.rs"]
mod serve;
#[path = "support/sign_on.rs"]
mod sign_on;
#[path = "support/walk.rs"]
mod walk;

use accounts::Accounts;
use browser::{Answer, Browser};
use html::escape;
use serve::Error;
use sign_on::SignOn;
use walk::{Step, Walk};

/// Who asks: somebody, or nobody with an empty name.
struct User(DetachedUser);

/// The proxy's word first; else the own login's; else nobody. A wrong password is refused, since a page for nobody
/// would not say what went wrong.
impl<S> FromRequestParts<S> for User
where
    S: Send + Sync,
    Accounts: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, Response> {
        let named = Option::<RemoteUser>::from_request_parts(parts, state).await;
        if let Some(user) = named.map_err(IntoResponse::into_response)? {
            return Ok(Self(DetachedUser::clone(&user)));
        }
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(Self(DetachedUser::new("")));
        }
        let sent = basic::credentials(&parts.headers).and_then(|sent| String::from_utf8(sent).ok());
        let (name, password) = sent.as_deref().and_then(|sent| sent.split_once(':')).ok_or_else(challenge)?;
        Accounts::from_ref(state).login(name, password).await.map(Self).ok_or_else(challenge)
    }
}

fn challenge() -> Response {
    let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"own login\", charset=\"UTF-8\"")];
    (StatusCode::UNAUTHORIZED, ask, "a user and a password are needed here\n").into_response()
}

async fn home(User(user): User) -> Html<String> {
    Html(template(&user))
}

async fn operations(User(user): User) -> Result<String, Response> {
    match user.in_group("ops") {
        true => Ok(format!("the switches, for {user}\n")),
        false if user.is_authenticated() => {
            Err((StatusCode::FORBIDDEN, "for the group ops alone\n").into_response())
        }
        false => Err(challenge()),
    }
}

async fn login(User(user): User) -> Response {
    if user.is_authenticated() { Redirect::to("/").into_response() } else { challenge() }
}

/// What a template engine would do, with the same two questions.
fn template(user: &DetachedUser) -> String {
    let mut page =
        String::from("<!doctype html><html lang=en><meta charset=utf-8><title>Own login</title>\n");
    if user.is_authenticated() {
        page += &format!("<p>Hello {}.\n", escape(user.display_name().unwrap_or(user.name())));
        page += "<ul>\n";
        for group in user.groups() {
            page += &format!("<li>{}\n", escape(group));
        }
        page += "</ul>\n";
    } else {
        page += "<p>Hello stranger. <a href=\"/login\">Log in</a>\n";
    }
    page
}

fn app(remote_user: ProxyRemoteUserLayer) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/ops", get(operations))
        .route("/login", get(login))
        .with_state(Accounts::example())
        .layer(remote_user)
}

#[derive(Parser)]
#[command(about = "One kind of user, from the proxy or from the application's own login")]
struct Flags {
    /// End after the script.
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("own_login: {failed} steps did not show what they must");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("own_login: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<usize, Error> {
    let remote_user = ProxyRemoteUserLayer::new(sign_on::proof()?).build()?;
    let alice = DetachedUser::new("alice").with_display_name("Alice <Liddell>").with_groups(["ops", "tea"]);
    let started = SignOn::start(app(remote_user), &[alice]).await?;
    let mut walk = Walk::default();
    pages(&started, &mut walk).await?;
    passwords(&started, &mut walk).await?;
    println!("\n{} of {} steps showed what they must.", walk.steps() - walk.failed(), walk.steps());
    if !flags.once {
        println!("\nServing until Ctrl-C:");
        println!("  as alice, by the proxy:                      http://{}/", started.by("alice"));
        println!("  by your own login (carol / looking-glass):   http://{}/login", started.by_nobody());
        serve::interrupted().await;
    }
    Ok(walk.failed())
}

/// The page, and the page for the group ops.
async fn ask(to: SocketAddr, lines: &[(&str, &str)]) -> Result<(Answer, Answer), Error> {
    let mut browser = Browser::plain();
    Ok((browser.get(to, None, "/", lines).await?, browser.get(to, None, "/ops", lines).await?))
}

fn basic_line(credentials: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(credentials))
}

async fn pages(started: &SignOn, walk: &mut Walk) -> Result<(), Error> {
    let carol = basic_line("carol:looking-glass");
    let dave = basic_line("dave:tweedle");
    let (page, ops) = ask(started.by_nobody(), &[]).await?;
    show(
        walk,
        "Nobody.",
        vec!["no user of the proxy, no password".into()],
        (&page, &ops),
        vec![
            ("the template greets a stranger", page.body.contains("Hello stranger")),
            (
                "the own login asks for a password",
                ops.status == 401 && ops.header("www-authenticate").starts_with("Basic"),
            ),
        ],
    );
    let (page, ops) = ask(started.by("alice"), &[]).await?;
    show(
        walk,
        "The proxy names alice, and her groups.",
        vec!["Remote-User: alice".into(), "Remote-Groups: ops,tea".into()],
        (&page, &ops),
        vec![
            ("the template greets her, escaped", page.body.contains("Hello Alice &lt;Liddell&gt;.")),
            ("and lists her groups", page.body.contains("<li>ops\n<li>tea\n")),
            ("the group opens the switches", ops.status == 200 && ops.body.contains("for alice")),
        ],
    );
    let (page, ops) = ask(started.by_nobody(), &[("authorization", &carol)]).await?;
    show(
        walk,
        "Carol logs in by herself. The same handlers, the same template.",
        vec!["Authorization: Basic carol:looking-glass".into()],
        (&page, &ops),
        vec![
            ("the template greets her", page.body.contains("Hello carol.")),
            ("with the groups of the application's table", page.body.contains("<li>ops\n<li>chess\n")),
            ("the group opens the switches", ops.status == 200 && ops.body.contains("for carol")),
        ],
    );
    let (page, ops) = ask(started.by_nobody(), &[("authorization", &dave)]).await?;
    show(
        walk,
        "Dave is in no group.",
        vec!["Authorization: Basic dave:tweedle".into()],
        (&page, &ops),
        vec![
            ("the template greets him", page.body.contains("Hello dave.")),
            ("no switches for him", ops.status == 403),
        ],
    );
    let (page, ops) = ask(started.by("alice"), &[("authorization", &carol)]).await?;
    show(
        walk,
        "Both at once: the proxy's word counts.",
        vec!["Remote-User: alice".into(), "Authorization: Basic carol:looking-glass".into()],
        (&page, &ops),
        vec![("alice", page.body.contains("Hello Alice") && ops.body.contains("for alice"))],
    );
    Ok(())
}

async fn passwords(started: &SignOn, walk: &mut Walk) -> Result<(), Error> {
    let mut outcomes = Vec::new();
    for sent in [
        "carol:guess",
        "carol:",
        "Carol:looking-glass",
        "nobody:looking-glass",
        ":",
        "carol",
        ":looking-glass",
    ] {
        let (page, _) = ask(started.by_nobody(), &[("authorization", &basic_line(sent))]).await?;
        outcomes.push((sent, page));
    }
    let (page, _) = ask(started.by_nobody(), &[("authorization", "Bearer looking-glass")]).await?;
    outcomes.push(("a Bearer token", page));
    walk.show(Step {
        title: "Passwords that are none.",
        sent: outcomes.iter().map(|(sent, _)| (*sent).into()).collect(),
        saw: vec![],
        back: outcomes.iter().map(|(_, page)| page.status.to_string()).collect(),
        must: vec![
            ("all refused", outcomes.iter().all(|(_, page)| page.status == 401)),
            ("with the same words", outcomes.iter().all(|(_, page)| page.body == outcomes[0].1.body)),
        ],
    });
    let forged = [("remote-user", "alice"), ("remote-groups", "ops"), ("remote_user", "alice")];
    let (page, ops) = ask(started.app, &forged).await?;
    show(
        walk,
        "A forger goes past the proxies.",
        vec!["Remote-User: alice".into(), "Remote-Groups: ops".into(), "Remote_User: alice".into()],
        (&page, &ops),
        vec![("nobody", page.body.contains("Hello stranger") && ops.status == 401)],
    );
    Ok(())
}

fn show(
    walk: &mut Walk,
    title: &'static str,
    sent: Vec<String>,
    (page, ops): (&Answer, &Answer),
    must: Vec<(&'static str, bool)>,
) {
    walk.show(Step {
        title,
        sent,
        saw: page.body.lines().skip(1).map(Into::into).collect(),
        back: vec![format!("/    {}", page.status), format!("/ops {}", ops.status)],
        must,
    });
}
