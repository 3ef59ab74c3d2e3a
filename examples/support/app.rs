//! The application behind the front end: an axum app with the whole application-side stack.
#![allow(dead_code, reason = "each example takes what it needs")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Query, Request, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get, post};
use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring;
use tokio_stream::StreamExt as _;
use tower::util::MapRequestLayer;
use tower::{Layer, ServiceBuilder};
use tower_proxied::forced_host::AllowedHosts;
use tower_proxied::forwarded_for::Claims;
use tower_proxied::proxy_remote_user::Encoding;
use tower_proxied::{
    ForceHttpsBodyLayer, ForcedHostLayer, ForwardedForLayer, Identity, PathPrefix, PeerAddr, Proof, Proxied,
    ProxyRemoteUserLayer, PublicUrl, RouteSuffixLayer, Scheme, ScriptName, ScriptNamePrefixLayer, Secret,
    TrustedProxies,
};

use self::html::escape;
use crate::serve::Error;

#[path = "html.rs"]
mod html;

pub(crate) struct AppConfig {
    /// The name of this application server in the balancer.
    pub(crate) route: String,
    pub(crate) trusted: TrustedProxies,
    pub(crate) claims: Claims,
    pub(crate) prefix: PathPrefix,
    pub(crate) prefix_mode: PrefixMode,
    pub(crate) public: Public,
    pub(crate) user_header: HeaderName,
    /// How the proxy writes names that are not ASCII.
    pub(crate) user_encoding: Encoding,
    pub(crate) secret: Option<(HeaderName, Secret)>,
    /// The cookie of the session; Apache's `stickysession=` wants the route in it.
    pub(crate) session_cookie: String,
    pub(crate) listener_scheme: Scheme,
    /// What keeps mixed content off https pages.
    pub(crate) force_https_body: ForceHttpsBodyLayer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PrefixMode {
    Keeps,
    Strips,
}

pub(crate) enum Public {
    Fixed(PublicUrl),
    Allowed(AllowedHosts),
}

/// The names by which a browser on this machine asks.
pub(crate) fn loopback_hosts() -> Result<AllowedHosts, Error> {
    Ok(AllowedHosts::parse(["localhost", "127.0.0.1", "[::1]"])?.any_port())
}

/// The application, to be served per connection with the peer's address.
pub(crate) fn app(config: AppConfig) -> Result<Router, Error> {
    let forwarded_for = ForwardedForLayer::x_forwarded_for(config.trusted.clone())
        .claims(config.claims)
        .listener_scheme(config.listener_scheme);

    let hidden = config.secret.as_ref().map(|(name, _)| name.clone());
    let mut proof = Proof::peer(config.trusted);
    if let Some((name, secret)) = config.secret {
        proof = proof & Proof::shared_secret(name, [secret]);
    }
    let remote_user = ProxyRemoteUserLayer::new(proof)
        .user_header(config.user_header)
        .encoding(config.user_encoding)
        .build()?;

    let forced_host = match config.public {
        Public::Fixed(public) => ForcedHostLayer::fixed(public),
        Public::Allowed(hosts) => ForcedHostLayer::allowed(hosts).use_proxied(),
    };
    let script_name = match config.prefix_mode {
        PrefixMode::Keeps => ScriptNamePrefixLayer::proxy_keeps(config.prefix),
        PrefixMode::Strips => ScriptNamePrefixLayer::proxy_strips(config.prefix),
    };
    let route_suffix = RouteSuffixLayer::new(&config.session_cookie, &config.route)?;

    let state = Arc::new(App {
        route: config.route,
        session_cookie: config.session_cookie,
        sessions: Mutex::default(),
    });
    let router = Router::new()
        .route("/", get(page_for_people))
        .route("/page", get(page_with_subresources))
        .route("/redirect", get(redirect))
        .route("/cookie", get(cookie))
        .route("/login", get(login).post(login))
        .route("/stream", get(stream))
        .route("/upload", post(upload))
        .route("/socket", any(socket))
        .fallback(what_the_app_saw)
        .with_state(state);

    let record = {
        let forwarded_for = forwarded_for.clone();
        MapRequestLayer::new(move |request| AsReceived::record(&forwarded_for, hidden.as_ref(), request))
    };
    let stack = ServiceBuilder::new()
        .layer(record)
        .layer(forwarded_for)
        .layer(remote_user)
        .layer(forced_host)
        .layer(script_name)
        .layer(route_suffix)
        .layer(config.force_https_body)
        .into_inner();
    // From outside of the router, since ScriptNamePrefix changes the path that routes are found by.
    Ok(Router::new().fallback_service(stack.layer(router)))
}

struct App {
    route: String,
    session_cookie: String,
    /// Requests per session, in this process only: lost stickiness shows.
    sessions: Mutex<HashMap<String, u64>>,
}

impl App {
    fn count_hit(&self, headers: &HeaderMap) -> Option<u64> {
        let id = self.session_id(headers)?;
        let mut sessions = self.sessions.lock().unwrap();
        let hits = sessions.get_mut(&id)?;
        *hits += 1;
        Some(*hits)
    }

    fn session_id(&self, headers: &HeaderMap) -> Option<String> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(';')).find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.session_cookie).then(|| value.to_owned())
        })
    }
}

/// The request before any layer touched it, for the page that explains.
#[derive(Clone)]
struct AsReceived {
    line: String,
    headers: Vec<(String, String)>,
    walk: String,
}

impl AsReceived {
    fn record<B>(
        forwarded_for: &ForwardedForLayer,
        hidden: Option<&HeaderName>,
        mut request: http::Request<B>,
    ) -> http::Request<B> {
        let peer = PeerAddr::of(request.extensions());
        let mut headers = request.headers().clone();
        if let Some(Entry::Occupied(mut secret)) = hidden.map(|name| headers.entry(name)) {
            secret.insert(HeaderValue::from_static("(hidden)"));
        }
        let received = Self {
            line: format!("{} {} {:?}", request.method(), request.uri(), request.version()),
            headers: lines(&headers),
            walk: forwarded_for.explain(peer.as_ref(), request.headers()),
        };
        request.extensions_mut().insert(received);
        request
    }
}

fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.as_bytes().escape_ascii().to_string();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn report(app: &App, request: &http::request::Parts) -> Value {
    let extensions = &request.extensions;
    let proxied = extensions.get::<Proxied>();
    let identity = extensions.get::<Identity>();
    let user = identity.and_then(Identity::user);
    let public = extensions.get::<PublicUrl>();
    let script_name = extensions.get::<ScriptName>();
    json!({
        "client": proxied.and_then(Proxied::client).map(|client| client.to_string()),
        "outcome": proxied.map(|proxied| format!("{:?}", proxied.outcome())),
        "trusted_hops": proxied.map(Proxied::trusted_hops),
        "scheme": public.map(|public| public.scheme().as_str()),
        "host": public.map(|public| public.authority().to_string()),
        "public_url": public.map(PublicUrl::to_string),
        "absolute": public.and_then(|public| public.absolute("/x").ok()),
        "current": public.map(|public| public.current(request)),
        "script_name": script_name.map(|script_name| script_name.prefix().as_str()),
        "path": request.uri.path(),
        "query": request.uri.query(),
        "user": user.map(|user| user.name()),
        "groups": user.map(|user| user.groups().collect::<Vec<_>>()).unwrap_or_default(),
        "identity": identity.map(|identity| format!("{identity:?}")),
        "route": app.route,
        "session_hits": app.count_hit(&request.headers),
        "headers": lines(&request.headers),
    })
}

async fn what_the_app_saw(State(app): State<Arc<App>>, request: Request) -> Response {
    let parts = request.into_parts().0;
    let mut text = serde_json::to_string_pretty(&report(&app, &parts)).expect("JSON");
    text.push('\n');
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// What the browser asked, what each layer concluded, and why; with links and a form to try.
async fn page_for_people(State(app): State<Arc<App>>, request: Request) -> Html<String> {
    let parts = request.into_parts().0;
    let report = report(&app, &parts);
    let received = parts.extensions.get::<AsReceived>().expect("recorded by the outermost layer");
    let prefix = report["script_name"].as_str().unwrap_or_default();
    let row = |name: &str, value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("<tr><th>{}</th><td><code>{}</code></td></tr>", escape(name), escape(&text))
    };
    let rows = |names: &[&str]| names.iter().map(|name| row(name, &report[*name])).collect::<String>();
    let header_rows = |lines: &[(String, String)]| {
        lines.iter().map(|(name, value)| row(name, &json!(value))).collect::<String>()
    };
    let try_it: String =
        ["/page", "/redirect?to=/next", "/cookie?path=/", "/login", "/stream", "/some/path?q=1"]
            .iter()
            .map(|path| format!("<li><a href=\"{0}{1}\">{0}{1}</a></li>", escape(prefix), escape(path)))
            .collect();
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{route}</title>\
         <style>body{{font:16px/1.4 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}\
         th{{text-align:left;font-weight:normal;padding-right:1em;white-space:nowrap;vertical-align:top}}\
         pre,code{{overflow-wrap:anywhere;white-space:pre-wrap}}</style>\
         <h1>{route}</h1>\
         <h2>What came over the wire</h2><p><code>{line}</code></p><table>{received}</table>\
         <h2>ForwardedFor: who is the client?</h2><pre>{walk}</pre><table>{forwarded}</table>\
         <h2>ProxyRemoteUser: who is logged in?</h2><table>{user}</table>\
         <h2>ForcedHost and ScriptNamePrefix: where does this application live?</h2><table>{public}</table>\
         <h2>What the application sees</h2><table>{seen}</table>\
         <h2>Try</h2><ul>{try_it}</ul>\
         <form action=\"{prefix}/redirect\"><label>Redirect to <input name=to value=\"/next\"></label> <button>Go</button></form>\
         <form action=\"{prefix}/cookie\"><label>Cookie for path <input name=path value=\"/\"></label> <button>Set</button></form>\
         <form method=post action=\"{prefix}/login\"><button>Log in</button></form>\
         </html>\n",
        route = escape(&app.route),
        line = escape(&received.line),
        received = header_rows(&received.headers),
        walk = escape(&received.walk),
        forwarded = rows(&["client", "outcome", "trusted_hops"]),
        user = rows(&["identity", "user", "groups", "session_hits"]),
        public = rows(&["public_url", "absolute", "current", "script_name", "path", "query"]),
        seen = header_rows(&lines(&parts.headers)),
        prefix = escape(prefix),
    ))
}

/// Sub-resources over http of every kind: https pages must not load them.
async fn page_with_subresources() -> Html<&'static str> {
    Html(concat!(
        "<!doctype html><html><head><title>Mixed content</title>\n",
        "<link rel=stylesheet href=\"http://static.example/site.css\">\n",
        "<link rel=canonical href=\"http://www.example/page\">\n",
        "<style>body { background: url(http://static.example/paper.png) }</style>\n",
        "<script src=\"http://static.example/site.js\"></script>\n",
        "<script>var kept = \"http://static.example/in-a-script\";</script>\n",
        "</head><body>\n",
        "<!-- <img src=\"http://static.example/in-a-comment.png\"> -->\n",
        "<img src=\"http://static.example/logo.png\" srcset=\"http://static.example/logo2.png 2x\" alt=\"a > b\">\n",
        "<iframe src='http://static.example/frame'></iframe>\n",
        "<video poster=http://static.example/poster.jpg src=http://static.example/film.mp4></video>\n",
        "<a href=\"http://www.example/\">a link may stay http</a>\n",
        "</body></html>\n",
    ))
}

async fn redirect(Query(query): Query<HashMap<String, String>>) -> Response {
    let to = query.get("to").map_or("/", String::as_str);
    match HeaderValue::from_str(to) {
        Ok(location) => (StatusCode::FOUND, [(header::LOCATION, location)]).into_response(),
        Err(_) => (StatusCode::BAD_REQUEST, "to= is no header value\n").into_response(),
    }
}

async fn cookie(Query(query): Query<HashMap<String, String>>) -> Response {
    let path = query.get("path").map_or("/", String::as_str);
    match HeaderValue::from_str(&format!("flavour=vanilla; Path={path}")) {
        Ok(cookie) if !path.contains(';') => ([(header::SET_COOKIE, cookie)], "a cookie\n").into_response(),
        _ => (StatusCode::BAD_REQUEST, "path= is no cookie path\n").into_response(),
    }
}

async fn login(State(app): State<Arc<App>>) -> Result<Response, StatusCode> {
    let mut random = [0; 16];
    let provider = ring::default_provider();
    provider.secure_random.fill(&mut random).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let cookie = format!("{}={id}; Path=/; HttpOnly; SameSite=Lax", app.session_cookie);
    app.sessions.lock().unwrap().insert(id, 0);
    Ok(([(header::SET_COOKIE, cookie)], format!("a session on {}\n", app.route)).into_response())
}

/// A page in pieces, a quarter of a second apart; a URL is cut in two.
async fn stream() -> Response {
    let pieces = [
        "<!doctype html><p>one\n",
        "<p>two <img src=\"htt",
        "p://static.example/late.png\">\n",
        "<p>three\n",
    ];
    let pieces = tokio_stream::iter(pieces.map(Ok::<_, Infallible>)).throttle(Duration::from_millis(250));
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], Body::from_stream(pieces)).into_response()
}

/// Counts what comes, and keeps nothing of it.
async fn upload(request: Request) -> Result<String, StatusCode> {
    let mut pieces = request.into_body().into_data_stream();
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        bytes += piece.map_err(|_| StatusCode::BAD_REQUEST)?.len();
    }
    Ok(format!("{bytes} bytes\n"))
}

/// A WebSocket that sends back what it gets.
async fn socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err()
            {
                return;
            }
        }
    })
}
