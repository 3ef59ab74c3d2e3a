//! Sessions that follow the user whom the proxy names, beside a login of the application's own.
//!
//! ```sh
//! cargo run --example session_login              # plays the script, then serves until Ctrl-C
//! cargo run --example session_login -- --once    # ends after the script; status 0 only if every step held
//! ```
//!
//! The application is `support/session_app.rs`: axum and tower-sessions, with `transition()` in one middleware. Each
//! proxy names one user, so that a browser changes its user by asking another proxy.

use std::process::ExitCode;

use clap::Parser;
use tower_proxied::proxy_remote_user::Mode;
use tower_proxied::{DetachedUser, ProxyRemoteUserLayer};
use tower_sessions::MemoryStore;

#[path = "support/accounts.rs"]
mod accounts;
#[path = "support/browser.rs"]
mod browser;
#[path = "support/serve.rs"]
mod serve;
#[path = "support/session_app.rs"]
mod session_app;
#[path = "support/sign_on.rs"]
mod sign_on;
#[path = "support/visit.rs"]
mod visit;
#[path = "support/walk.rs"]
mod walk;

use accounts::Accounts;
use browser::Browser;
use serve::Error;
use session_app::{COOKIE, SessionApp};
use sign_on::SignOn;
use visit::{Visit, form};
use walk::{Step, Walk};

#[derive(Parser)]
#[command(about = "Sessions that follow the user whom the proxy names")]
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
            eprintln!("session_login: {failed} steps did not show what they must");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("session_login: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<usize, Error> {
    let strict = start(Mode::Strict).await?;
    let persistent = start(Mode::Persistent).await?;
    let mut walk = Walk::default();
    one_browser(&strict, &mut walk).await?;
    own_login(&strict, &mut walk).await?;
    persistent_mode(&persistent, &mut walk).await?;
    attackers(&strict, &mut walk).await?;
    at_once(&strict, &mut walk).await?;
    println!("\n{} of {} steps showed what they must.", walk.steps() - walk.failed(), walk.steps());
    if !flags.once {
        println!("\nServing until Ctrl-C, to be opened in one browser in turn:");
        for (mode, started) in [("strict", &strict), ("persistent", &persistent)] {
            println!("  {mode}, as alice:  http://{}/", started.by("alice"));
            println!("  {mode}, as bob:    http://{}/", started.by("bob"));
            println!("  {mode}, as nobody: http://{}/", started.by_nobody());
        }
        serve::interrupted().await;
    }
    Ok(walk.failed())
}

async fn start(mode: Mode) -> Result<SignOn, Error> {
    let remote_user = ProxyRemoteUserLayer::new(sign_on::proof()?).build()?;
    let app = SessionApp { mode, accounts: Accounts::example(), admits: |user| user.name() != "mallory" };
    let users = ["alice", "bob", "mallory"]
        .map(|name| DetachedUser::new(name).with_groups([format!("friends of {name}")]));
    SignOn::start(app.router(remote_user, MemoryStore::default()), &users).await
}

fn saw(visit: &Visit) -> Vec<String> {
    ["step", "user", "opened_by", "note"]
        .iter()
        .filter(|field| !visit.json[**field].is_null())
        .map(|field| format!("{field} = {}", visit.json[*field]))
        .collect()
}

fn back(visit: &Visit) -> Vec<String> {
    let short = |id: &Option<String>| {
        id.as_ref().map_or("none".into(), |id| format!("{}\u{2026}", &id[..6.min(id.len())]))
    };
    vec![
        visit.status.to_string(),
        if visit.is_new_id() {
            format!("session {} -> {}", short(&visit.id_before), short(&visit.id_after))
        } else {
            format!("session {}", short(&visit.id_after))
        },
    ]
}

async fn one_browser(strict: &SignOn, walk: &mut Walk) -> Result<(), Error> {
    let mut browser = Browser::plain();
    let anonymous = Visit::pay(&mut browser, strict.by_nobody()).await?;
    walk.show(Step {
        title: "Nobody is logged in. The page has a form, hence a session for its token.",
        sent: vec!["through the proxy that names nobody".into()],
        saw: saw(&anonymous),
        back: back(&anonymous),
        must: vec![("nobody", anonymous.is("StayAnonymous", None))],
    });
    let mut planted = browser.clone();

    let login = Visit::pay(&mut browser, strict.by("alice")).await?;
    let copy = Visit::pay(&mut planted, strict.by_nobody()).await?;
    walk.show(Step {
        title: "The proxy names alice for the first time: one login.",
        sent: vec!["Remote-User: alice".into(), "and the secret, both by the proxy".into()],
        saw: saw(&login),
        back: back(&login),
        must: vec![
            ("alice, by the proxy", login.is("Login", Some("alice")) && login.json["opened_by"] == "proxy"),
            ("a new session id", login.is_new_id()),
            ("a new CSRF token", login.json["csrf"] != anonymous.json["csrf"]),
            ("whoever planted the old id has nothing", copy.is("StayAnonymous", None)),
        ],
    });

    let forged = browser.post(strict.by("alice"), "/note", &[("csrf", ""), ("text", "forged")]).await?;
    let before = browser.post(strict.by("alice"), "/note", &form(&anonymous, &[("text", "forged")])).await?;
    let posted = browser.post(strict.by("alice"), "/note", &form(&login, &[("text", "tea at four")])).await?;
    let kept = Visit::pay(&mut browser, strict.by("alice")).await?;
    walk.show(Step {
        title: "Alice writes a note into her session. There is no second login.",
        sent: vec![
            "POST /note without a token".into(),
            "POST /note with the token from before the login".into(),
            "POST /note with the token of her page".into(),
        ],
        saw: saw(&kept),
        back: [&forged, &before, &posted]
            .iter()
            .map(|answer| answer.status.to_string())
            .chain(back(&kept))
            .collect(),
        must: vec![
            ("the same session", kept.is("Keep", Some("alice")) && !kept.is_new_id()),
            (
                "only her own form counts",
                kept.json["note"] == "tea at four"
                    && forged.status == 403
                    && before.status == 403
                    && posted.status == 303,
            ),
        ],
    });
    let mut stale = browser.clone();

    let switched = Visit::pay(&mut browser, strict.by("bob")).await?;
    walk.show(Step {
        title: "The same browser, and the proxy names bob.",
        sent: vec!["Remote-User: bob, with alice's cookie".into()],
        saw: saw(&switched),
        back: back(&switched),
        must: vec![
            ("bob", switched.is("Switch", Some("bob"))),
            ("a new session id", switched.is_new_id()),
            (
                "nothing of alice is left",
                switched.json["note"].is_null() && !switched.json.to_string().contains("alice"),
            ),
            ("a new CSRF token", switched.json["csrf"] != kept.json["csrf"]),
        ],
    });

    let dead = Visit::pay(&mut stale, strict.by("alice")).await?;
    walk.show(Step {
        title: "A tab that still has alice's old cookie, through alice's proxy.",
        sent: vec!["Remote-User: alice, with the cookie of the ended session".into()],
        saw: saw(&dead),
        back: back(&dead),
        must: vec![
            ("a login, since the old session is gone", dead.is("Login", Some("alice"))),
            ("with another id and without the note", dead.is_new_id() && dead.json["note"].is_null()),
        ],
    });

    let logout = Visit::pay(&mut browser, strict.by_nobody()).await?;
    walk.show(Step {
        title: "The proxy names nobody any longer: bob's session ends.",
        sent: vec!["no Remote-User, with bob's cookie".into()],
        saw: saw(&logout),
        back: back(&logout),
        must: vec![
            ("nobody", logout.is("Logout", None)),
            ("the session of the next form has another id", logout.is_new_id()),
        ],
    });
    Ok(())
}

async fn own_login(strict: &SignOn, walk: &mut Walk) -> Result<(), Error> {
    let mut browser = Browser::plain();
    let anonymous = Visit::pay(&mut browser, strict.by_nobody()).await?;
    let wrong = browser
        .post(strict.by_nobody(), "/login", &form(&anonymous, &[("name", "carol"), ("password", "guess")]))
        .await?;
    let fields = [("name", "carol"), ("password", "looking-glass")];
    let right = browser.post(strict.by_nobody(), "/login", &form(&anonymous, &fields)).await?;
    let id_at_login = browser.cookie(COOKIE).map(str::to_owned);
    let carol = Visit::pay(&mut browser, strict.by_nobody()).await?;
    walk.show(Step {
        title: "Carol logs in at the application's own form. No proxy names her, and none needs to.",
        sent: vec![
            "POST /login: carol, and a wrong password".into(),
            "POST /login: carol, looking-glass".into(),
            "GET /whoami".into(),
        ],
        saw: saw(&carol),
        back: [&wrong, &right].iter().map(|answer| answer.status.to_string()).chain(back(&carol)).collect(),
        must: vec![
            ("a wrong password is none", wrong.status == 403 && right.status == 303),
            ("the login made a new id", id_at_login != anonymous.id_after),
            (
                "an absent header does not end it",
                carol.is("Keep", Some("carol")) && carol.json["opened_by"] == "application",
            ),
        ],
    });
    let alice = Visit::pay(&mut browser, strict.by("alice")).await?;
    walk.show(Step {
        title: "The proxy names alice: its word replaces the application's.",
        sent: vec!["Remote-User: alice, with carol's cookie".into()],
        saw: saw(&alice),
        back: back(&alice),
        must: vec![
            ("alice, by the proxy", alice.is("Switch", Some("alice")) && alice.json["opened_by"] == "proxy"),
            ("with a new id", alice.is_new_id()),
        ],
    });
    Ok(())
}

async fn persistent_mode(persistent: &SignOn, walk: &mut Walk) -> Result<(), Error> {
    let mut browser = Browser::plain();
    let login = Visit::pay(&mut browser, persistent.by("alice")).await?;
    let later = Visit::pay(&mut browser, persistent.by_nobody()).await?;
    let bob = Visit::pay(&mut browser, persistent.by("bob")).await?;
    walk.show(Step {
        title: "Mode::Persistent: the proxy names the user at the login page alone.",
        sent: vec!["Remote-User: alice".into(), "no Remote-User".into(), "Remote-User: bob".into()],
        saw: [&login, &later, &bob]
            .iter()
            .map(|visit| format!("{} {}", visit.json["step"], visit.json["user"]))
            .collect(),
        back: back(&bob),
        must: vec![
            ("alice stays", later.is("Keep", Some("alice")) && !later.is_new_id()),
            ("until somebody else comes", bob.is("Switch", Some("bob")) && bob.is_new_id()),
        ],
    });
    Ok(())
}

async fn attackers(strict: &SignOn, walk: &mut Walk) -> Result<(), Error> {
    let mut browser = Browser::plain();
    let made_up = "AAAAAAAAAAAAAAAAAAAAAA";
    browser.set_cookie(COOKIE, made_up);
    let nobody = Visit::pay(&mut browser, strict.by_nobody()).await?;
    browser.set_cookie(COOKIE, made_up);
    let alice = Visit::pay(&mut browser, strict.by("alice")).await?;
    walk.show(Step {
        title: "A session id that the browser made up.",
        sent: vec![format!("Cookie: id={made_up}"), "through nobody's proxy, then through alice's".into()],
        saw: saw(&alice),
        back: back(&alice),
        must: vec![
            ("it is nobody's", nobody.is("StayAnonymous", None)),
            (
                "and is never taken over",
                nobody.is_new_id() && alice.is("Login", Some("alice")) && alice.is_new_id(),
            ),
        ],
    });

    let forged = [("remote-user", "alice"), ("x-proxy-secret", "a-guess-that-is-long-enough")];
    let past = Visit::with(&mut Browser::plain(), strict.app, &forged).await?;
    let through = Visit::with(&mut Browser::plain(), strict.by_nobody(), &forged).await?;
    walk.show(Step {
        title: "A forger names alice, past the proxies and through one.",
        sent: vec!["Remote-User: alice".into(), "X-Proxy-Secret: a-guess-that-is-long-enough".into()],
        saw: saw(&past),
        back: back(&past),
        must: vec![
            ("nobody past the proxies", past.is("StayAnonymous", None)),
            ("nobody through a proxy", through.is("StayAnonymous", None)),
        ],
    });

    let mut thief = browser.clone();
    let stolen = Visit::pay(&mut thief, strict.app).await?;
    let victim = Visit::pay(&mut browser, strict.by("alice")).await?;
    walk.show(Step {
        title: "A thief brings alice's cookie past the proxies.",
        sent: vec!["alice's cookie, and no proof".into()],
        saw: saw(&stolen),
        back: back(&stolen),
        must: vec![
            ("the session is worth nothing without the proxy, and ends", stolen.is("Logout", None)),
            ("alice has a new one at her next request", victim.is("Login", Some("alice"))),
        ],
    });

    let refused = Visit::pay(&mut browser, strict.by("mallory")).await?;
    walk.show(Step {
        title: "The proxy names mallory, whom the application does not let in.",
        sent: vec!["Remote-User: mallory, with alice's cookie".into()],
        saw: saw(&refused),
        back: back(&refused),
        must: vec![("nobody: neither mallory nor alice", refused.is("Logout", None) && refused.is_new_id())],
    });
    Ok(())
}

async fn at_once(strict: &SignOn, walk: &mut Walk) -> Result<(), Error> {
    let mut first = Browser::plain();
    Visit::pay(&mut first, strict.by_nobody()).await?;
    let mut second = first.clone();
    let (one, other) = tokio::try_join!(
        Visit::pay(&mut first, strict.by("alice")),
        Visit::pay(&mut second, strict.by("alice"))
    )?;
    let after = [
        Visit::pay(&mut first, strict.by("alice")).await?,
        Visit::pay(&mut second, strict.by("alice")).await?,
    ];
    let is_kept = |visit: &Visit| visit.is("Keep", Some("alice"));
    walk.show(Step {
        title: "Two first requests of one browser at once, then one with either answer's cookie.",
        sent: vec!["Remote-User: alice".into(), "Remote-User: alice".into()],
        saw: [&one, &other, &after[0], &after[1]]
            .iter()
            .map(|visit| format!("{} {}", visit.json["step"], visit.json["user"]))
            .collect(),
        back: [back(&one), back(&other)].concat(),
        must: vec![
            ("both are alice's", [&one, &other].iter().all(|visit| visit.json["user"] == "alice")),
            (
                "both have new ids, each its own",
                one.is_new_id() && other.is_new_id() && one.id_after != other.id_after,
            ),
            ("either goes on", after.iter().all(is_kept)),
        ],
    });
    Ok(())
}
