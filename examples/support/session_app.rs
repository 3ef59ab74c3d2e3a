//! An application with sessions, of users whom the proxy names and of a login of its own.
#![allow(dead_code, reason = "each example takes what it needs")]

use axum::extract::{Form, Request, State};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Json, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use tokio_rustls::rustls::crypto::ring;
use tower::ServiceBuilder;
use tower_proxied::proxy_remote_user::{Mode, SessionUser, Transition, transition};
use tower_proxied::{DetachedUser, Identity, ProxyRemoteUserLayer};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

use self::html::escape;
use crate::accounts::Accounts;

#[path = "html.rs"]
mod html;

/// The cookie of the session.
pub(crate) const COOKIE: &str = "id";

/// What a session holds.
const USER: &str = "user";
const CSRF: &str = "csrf";
const NOTE: &str = "note";

#[derive(Clone)]
pub(crate) struct SessionApp {
    pub(crate) mode: Mode,
    pub(crate) accounts: Accounts,
    /// Whether the application lets in a user of the proxy.
    pub(crate) admits: fn(&DetachedUser) -> bool,
}

impl SessionApp {
    pub(crate) fn router(self, remote_user: ProxyRemoteUserLayer, store: MemoryStore) -> Router {
        // `Secure` would keep the cookie from a plain http loopback: leave it on everywhere else.
        let sessions = SessionManagerLayer::new(store).with_name(COOKIE).with_secure(false);
        let router = Router::new()
            .route("/", get(page))
            .route("/whoami", get(who_am_i))
            .route("/note", post(note))
            .route("/login", post(login))
            .route("/logout", post(logout))
            .layer(middleware::from_fn_with_state(self.clone(), follow_the_proxy))
            .with_state(self);
        let stack = ServiceBuilder::new().layer(remote_user).layer(sessions).service(router);
        Router::new().fallback_service(stack)
    }

    fn next(&self, session: Option<&LoggedIn>, now: &Identity) -> Transition {
        let of = session.map(|session| (session.opened_by, session.user()));
        let of = of.as_ref().map(|(opened_by, user)| match opened_by {
            OpenedBy::Proxy => SessionUser::OfProxy(user),
            OpenedBy::Application => SessionUser::OfApplication(user),
        });
        let next = transition(of, now, self.mode);
        match now.user() {
            Some(user) if !(self.admits)(user) => next.not_admitted(),
            _ => next,
        }
    }
}

/// The user of a session, as it is stored.
#[derive(Clone, Deserialize, Serialize)]
struct LoggedIn {
    opened_by: OpenedBy,
    name: String,
    realm: Option<String>,
    uid: Option<String>,
    groups: Vec<String>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum OpenedBy {
    Proxy,
    Application,
}

impl LoggedIn {
    fn new(opened_by: OpenedBy, user: &DetachedUser) -> Self {
        Self {
            opened_by,
            name: user.name().into(),
            realm: user.realm().map(Into::into),
            uid: user.uid().map(Into::into),
            groups: user.groups().map(Into::into).collect(),
        }
    }

    fn user(&self) -> DetachedUser {
        let mut user = DetachedUser::new(&*self.name).with_groups(self.groups.iter().map(String::as_str));
        if let Some(realm) = &self.realm {
            user = user.with_realm(&**realm);
        }
        if let Some(uid) = &self.uid {
            user = user.with_uid(&**uid);
        }
        user
    }
}

/// Who asks: what handlers take, whoever logged the user in. Nobody has an empty name.
#[derive(Clone)]
struct Visitor {
    user: DetachedUser,
    opened_by: Option<OpenedBy>,
    /// What became of the session at this request.
    step: Transition,
}

/// Makes the session that of the user whom the proxy names, before anything reads it.
async fn follow_the_proxy(
    State(app): State<SessionApp>,
    session: Session,
    identity: Identity,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let before: Option<LoggedIn> = session.get(USER).await?;
    let step = app.next(before.as_ref(), &identity);
    if matches!(step, Transition::Switch | Transition::Logout) {
        end(&session).await?;
    }
    let now = match (step, identity.user()) {
        (Transition::Login | Transition::Switch, Some(user)) => {
            let now = LoggedIn::new(OpenedBy::Proxy, user);
            open(&session, &now).await?;
            Some(now)
        }
        (Transition::Keep, _) => before,
        _ => None,
    };
    // The groups of this request, if it has any: those of the session are as old as its login.
    let user = match (&now, identity.user()) {
        (Some(_), Some(user)) => DetachedUser::clone(user),
        (Some(now), None) => now.user(),
        (None, _) => DetachedUser::new(""),
    };
    request.extensions_mut().insert(Visitor { user, opened_by: now.map(|now| now.opened_by), step });
    Ok(next.run(request).await)
}

/// Opens a session for the user: a new id, so that nobody who knew the old one shares it, and a new CSRF token.
async fn open(session: &Session, user: &LoggedIn) -> Result<(), Failure> {
    session.cycle_id().await?;
    session.insert(USER, user).await?;
    session.insert(CSRF, random_text()?).await?;
    Ok(())
}

/// Nothing is left. Not `flush`: what is inserted after it in the same request is stored under the old id.
async fn end(session: &Session) -> Result<(), Failure> {
    session.clear().await;
    session.cycle_id().await?;
    Ok(())
}

async fn csrf_token(session: &Session) -> Result<String, Failure> {
    if let Some(token) = session.get(CSRF).await? {
        return Ok(token);
    }
    let token = random_text()?;
    session.insert(CSRF, &token).await?;
    Ok(token)
}

/// Whether the form came from a page of this very session: one of the session before a login does not count.
async fn check_csrf(session: &Session, sent: &str) -> Result<(), Failure> {
    let token: Option<String> = session.get(CSRF).await?;
    if token.is_some_and(|token| token.as_bytes().ct_eq(sent.as_bytes()).into()) {
        return Ok(());
    }
    Err(Failure(StatusCode::FORBIDDEN, "the form is not of this session: load the page again\n"))
}

fn random_text() -> Result<String, Failure> {
    let mut random = [0; 16];
    let filled = ring::default_provider().secure_random.fill(&mut random);
    filled.map_err(|_| Failure(StatusCode::INTERNAL_SERVER_ERROR, "no random bytes\n"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn who_am_i(Extension(visitor): Extension<Visitor>, session: Session) -> Result<Json<Value>, Failure> {
    Ok(Json(json!({
        "user": visitor.user.is_authenticated().then(|| visitor.user.name()),
        "groups": visitor.user.groups().collect::<Vec<_>>(),
        "opened_by": visitor.opened_by,
        "step": format!("{:?}", visitor.step),
        "note": session.get::<String>(NOTE).await?,
        "csrf": csrf_token(&session).await?,
    })))
}

async fn page(Extension(visitor): Extension<Visitor>, session: Session) -> Result<Html<String>, Failure> {
    let csrf = csrf_token(&session).await?;
    let csrf = format!("<input type=hidden name=csrf value=\"{}\">", escape(&csrf));
    let note = session.get::<String>(NOTE).await?.unwrap_or_default();
    let greeting = if visitor.user.is_authenticated() {
        format!(
            "<p>Hello {}.<form method=post action=/logout>{csrf}<button>Log out</button></form>",
            escape(visitor.user.name())
        )
    } else {
        format!(
            "<form method=post action=/login>{csrf}<input name=name placeholder=carol> \
             <input name=password type=password placeholder=looking-glass> <button>Log in</button></form>"
        )
    };
    Ok(Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Sessions</title>{greeting}\
         <form method=post action=/note>{csrf}<input name=text value=\"{}\"> <button>Keep this note</button></form>\
         <p>{:?}\n",
        escape(&note),
        visitor.step
    )))
}

#[derive(Deserialize)]
struct Note {
    csrf: String,
    text: String,
}

async fn note(session: Session, Form(form): Form<Note>) -> Result<Redirect, Failure> {
    check_csrf(&session, &form.csrf).await?;
    session.insert(NOTE, form.text).await?;
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
struct Login {
    csrf: String,
    name: String,
    password: String,
}

async fn login(
    State(app): State<SessionApp>,
    identity: Identity,
    session: Session,
    Form(form): Form<Login>,
) -> Result<Redirect, Failure> {
    check_csrf(&session, &form.csrf).await?;
    if identity.is_authenticated() {
        return Err(Failure(StatusCode::CONFLICT, "the proxy says who you are\n"));
    }
    let Some(user) = app.accounts.login(&form.name, &form.password).await else {
        return Err(Failure(StatusCode::FORBIDDEN, "no such user, or another password\n"));
    };
    let user = LoggedIn::new(OpenedBy::Application, &user);
    if session.get::<LoggedIn>(USER).await?.is_some() {
        end(&session).await?;
    }
    open(&session, &user).await?;
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
struct Logout {
    csrf: String,
}

async fn logout(session: Session, Form(form): Form<Logout>) -> Result<Redirect, Failure> {
    check_csrf(&session, &form.csrf).await?;
    end(&session).await?;
    Ok(Redirect::to("/"))
}

struct Failure(StatusCode, &'static str);

impl From<tower_sessions::session::Error> for Failure {
    fn from(error: tower_sessions::session::Error) -> Self {
        eprintln!("the store of sessions: {error}");
        Self(StatusCode::INTERNAL_SERVER_ERROR, "the session cannot be read or written\n")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}
