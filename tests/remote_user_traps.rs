//! Where others went wrong: one test per trap, with the very input that led them there.

mod common;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request as AxumRequest;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use common::{exchange, serve};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::trace::{DefaultMakeSpan, TraceLayer};
use tower_proxied::proxy_remote_user::{
    Encoding, Groups, Mode, ProxyRemoteUserBuilder, SessionUser, Transition, transition,
};
use tower_proxied::{
    DetachedUser, ForwardedForLayer, Identity, PeerAddr, Proof, Proxied, ProxyRemoteUserLayer, Refusal,
    RemoteUser, Secret, TrustedProxies,
};

const PROXY: &str = "10.0.0.5:51234";
const STRANGER: &str = "203.0.113.9:40000";
const SECRET_HEADER: HeaderName = HeaderName::from_static("x-proxy-secret");
const SECRET: &str = "correct-horse-battery-staple-1";

fn trusted() -> TrustedProxies {
    TrustedProxies::parse(["10.0.0.5"]).unwrap()
}

fn builder() -> ProxyRemoteUserBuilder {
    ProxyRemoteUserLayer::new(Proof::peer(trusted()))
}

fn shared_secret() -> Proof {
    Proof::shared_secret(SECRET_HEADER, [Secret::parse(SECRET).unwrap()])
}

/// What the inner service, or else the refused client, got.
struct Seen {
    /// The user, the reason why there is none, or the refusal.
    who: String,
    status: StatusCode,
    user: Option<RemoteUser>,
    headers: HeaderMap,
}

fn who(identity: Option<&Identity>) -> String {
    match identity {
        Some(Identity::User(user)) => user.name().to_owned(),
        Some(Identity::Anonymous(reason)) => format!("{reason:?}"),
        None => "no Identity".to_owned(),
    }
}

async fn ask(builder: ProxyRemoteUserBuilder, peer: &str, lines: &[(&str, &[u8])]) -> Seen {
    let mut request = Request::new(());
    for (name, value) in lines {
        request
            .headers_mut()
            .append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap());
    }
    let inner: Mutex<Option<request::Parts>> = Mutex::new(None);
    let service = ServiceBuilder::new()
        .layer(PeerAddr::layer(peer.parse::<SocketAddr>().unwrap()))
        .layer(builder.build().unwrap())
        .service_fn(|request: Request<()>| {
            *inner.lock().unwrap() = Some(request.into_parts().0);
            std::future::ready(Ok::<_, Infallible>(Response::new(())))
        });
    let response = service.oneshot(request).await.unwrap();
    let status = response.status();
    match inner.lock().unwrap().take() {
        Some(parts) => {
            let identity = parts.extensions.get::<Identity>();
            Seen {
                who: who(identity),
                status,
                user: identity.and_then(Identity::user).cloned(),
                headers: parts.headers,
            }
        }
        None => {
            let kind = response.extensions().get::<Refusal>().expect("who does not ask refuses").kind();
            Seen { who: format!("{kind:?}"), status, user: None, headers: HeaderMap::new() }
        }
    }
}

async fn asked(lines: &[(&str, &[u8])]) -> Seen {
    ask(builder(), PROXY, lines).await
}

/// Answers with the user and the names of all headers but the connection's own.
async fn tell(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new(told(request.extensions().get(), request.headers())))
}

fn told(identity: Option<&Identity>, headers: &HeaderMap) -> String {
    let mut names: Vec<_> = headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| !["host", "connection", "transfer-encoding", "trailer"].contains(name))
        .collect();
    names.sort_unstable();
    format!("{} {names:?}", who(identity))
}

fn last_line(answer: &str) -> &str {
    answer.lines().last().unwrap_or_default()
}

async fn spawn(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<PeerAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn of_loopback() -> ProxyRemoteUserLayer {
    ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::loopback())).build().unwrap()
}

#[tokio::test]
async fn trap_01_other_spellings_beside_the_real_header() {
    let lines: &[(&str, &[u8])] =
        &[("Remote_User", b"x"), ("Remote-User", b"alice"), ("Remote.User", b"x"), ("Remote`User", b"x")];
    let seen = asked(lines).await;
    assert_eq!((&*seen.who, seen.headers.len()), ("alice", 0));
    for line in lines {
        let seen = ask(builder(), STRANGER, &[*line]).await;
        assert_eq!((&*seen.who, seen.headers.len()), ("Unproven", 0), "{line:?}");
    }
}

#[tokio::test]
async fn trap_02_two_lines_and_two_lines_merged() {
    for lines in
        [&[("Remote-User", &b"admin"[..]), ("Remote-User", b"alice")][..], &[("Remote-User", b"admin,alice")]]
    {
        let seen = asked(lines).await;
        assert_eq!((&*seen.who, seen.status), ("IdentityMalformed", StatusCode::BAD_REQUEST), "{lines:?}");
    }
}

#[tokio::test]
async fn trap_03_an_empty_name_and_null_are_nobody() {
    for value in [&b""[..], b"(null)"] {
        assert_eq!(asked(&[("Remote-User", value)]).await.who, "Absent");
        let refused = ask(builder().required(), PROXY, &[("Remote-User", value)]).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn trap_04_names_beyond_ascii_are_neither_nobody_nor_each_other() {
    assert_eq!(asked(&[("Remote-User", "zoë".as_bytes())]).await.who, "zoë");
    for value in [&b"\xe8"[..], b"\xe9"] {
        assert_eq!(asked(&[("Remote-User", value)]).await.who, "IdentityMalformed");
        let latin1 = ask(builder().encoding(Encoding::Latin1), PROXY, &[("Remote-User", value)]).await;
        assert_eq!(latin1.who, char::from(value[0]).to_string());
    }
}

#[tokio::test]
async fn trap_05_a_leading_blank_makes_no_other_user_over_http_2() {
    let address = serve(of_loopback().layer(service_fn(tell))).await;
    let answer = exchange(address, &["GET / HTTP/1.1", "Host: app", "Remote-User:  admin"]).await;
    assert_eq!(last_line(&answer), "admin []");
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request =
        Request::get(format!("http://{address}/")).header("remote-user", " admin").body(Empty::new());
    let response = client.request(request.unwrap()).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "admin []");
}

#[tokio::test]
async fn trap_06_addresses_in_other_forms() {
    let of =
        |network: &str| ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::parse([network]).unwrap()));
    let lines: &[(&str, &[u8])] = &[("Remote-User", b"alice")];
    assert_eq!(ask(of("10.0.0.0/8"), "[::ffff:10.0.0.5]:1", lines).await.who, "alice");
    assert_eq!(ask(of("2001:db8::1"), "[2001:db8::1]:1", lines).await.who, "alice");
    assert_eq!(ask(of("2001:db8::1"), "[2001:db8::2]:1", lines).await.who, "Unproven");
    let error = TrustedProxies::parse(["10.0.0.5/8"]).unwrap_err();
    assert!(error.to_string().contains("10.0.0.5/8"), "{error}");
}

#[tokio::test]
async fn trap_07_x_forwarded_for_buys_no_trust() {
    let inner = |request: Request<()>| async move {
        let client = request.extensions().get::<Proxied>().and_then(Proxied::client);
        Ok::<_, Infallible>(Response::new(format!("{client:?} {}", who(request.extensions().get()))))
    };
    // The resolved client is the very address that would be believed as a peer.
    let service = ServiceBuilder::new()
        .layer(PeerAddr::layer(STRANGER.parse::<SocketAddr>().unwrap()))
        .layer(ForwardedForLayer::x_forwarded_for(TrustedProxies::parse(["203.0.113.9"]).unwrap()))
        .layer(builder().build().unwrap())
        .service_fn(inner);
    let request =
        Request::get("/").header("x-forwarded-for", "10.0.0.5").header("remote-user", "admin").body(());
    let response = service.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "Some(10.0.0.5) Unproven");
}

#[tokio::test]
async fn trap_08_axum_without_connect_info() {
    for (required, expected) in [(false, "NoPeer []"), (true, "401")] {
        let mut builder = ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::loopback()));
        if required {
            builder = builder.required();
        }
        let app = Router::new().fallback(tell_axum).layer(builder.build().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let answer = exchange(address, &["GET / HTTP/1.1", "Host: app", "Remote-User: alice"]).await;
        let is_fair = last_line(&answer) == expected || answer.starts_with(&format!("HTTP/1.1 {expected} "));
        assert!(is_fair, "{answer}");
    }
}

#[tokio::test]
async fn trap_08_a_unix_socket_is_no_proof_unless_said() {
    let path = std::env::temp_dir().join(format!("tower-proxied-trap-08-{}.sock", std::process::id()));
    for (trusted, expected) in [
        (TrustedProxies::loopback(), "Unproven []"),
        (TrustedProxies::loopback() | TrustedProxies::unix(), "alice []"),
    ] {
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let layer = ProxyRemoteUserLayer::new(Proof::peer(trusted)).build().unwrap();
        let app = Router::new().fallback(tell_axum).layer(layer);
        let app = app.into_make_service_with_connect_info::<PeerAddr>();
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: app\r\nRemote-User: alice\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        bounded(stream.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(last_line(&answer), expected);
        server.abort();
    }
    std::fs::remove_file(&path).unwrap();
}

async fn tell_axum(request: AxumRequest) -> String {
    told(request.extensions().get(), request.headers())
}

async fn bounded<F: Future>(exchange: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), exchange).await.expect("within ten seconds")
}

/// What a proxy further in does (RFC 9110, section 7.6.1).
async fn remove_what_connection_lists(
    mut request: Request<Incoming>,
) -> Result<Response<String>, Infallible> {
    let listed: Vec<String> = request
        .headers()
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.to_str().unwrap().split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .collect();
    for name in listed {
        request.headers_mut().remove(name);
    }
    let user = request.headers().get("remote-user").map(|user| user.to_str().unwrap().to_owned());
    Ok(Response::new(format!("{} {user:?}", who(request.extensions().get()))))
}

#[tokio::test]
async fn trap_09_connection_cannot_take_the_identity_away() {
    let lines = [
        "GET / HTTP/1.1",
        "Host: app",
        "Remote-User: alice",
        "Connection: close, Remote-User",
        "Connection: REMOTE_USER",
    ];
    let address = serve(of_loopback().layer(service_fn(tell))).await;
    assert_eq!(last_line(&exchange(address, &lines).await), "alice []");

    let builder = ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::loopback())).forward_canonical();
    let address = serve(builder.build().unwrap().layer(service_fn(remove_what_connection_lists))).await;
    assert_eq!(last_line(&exchange(address, &lines).await), "alice Some(\"alice\")");
}

#[tokio::test]
async fn trap_10_realms_are_not_cut_off_blindly() {
    let realm = || builder().require_realm(["CORP"]);
    for (name, expected) in [
        (&b"alice@EVIL"[..], "ForeignRealm"),
        (b"admin@CORP@EVIL", "IdentityMalformed"),
        (b"CORP\\admin@CORP", "IdentityMalformed"),
        (b"alice@CORP", "alice"),
    ] {
        assert_eq!(ask(realm(), PROXY, &[("Remote-User", name)]).await.who, expected, "{name:?}");
    }
    assert_eq!(asked(&[("Remote-User", b"alice@EVIL")]).await.who, "alice@EVIL");
}

#[tokio::test]
async fn trap_11_a_group_with_a_comma_is_one_and_a_list_is_never_cut() {
    let lines: &[(&str, &[u8])] = &[("Remote-User", b"alice"), ("Remote-Groups", b"CN=Eng,OU=G")];
    for groups in [Groups::PerLine, Groups::Pipe, Groups::Semicolon] {
        let user = ask(builder().groups(groups), PROXY, lines).await.user.unwrap();
        assert_eq!(user.groups().collect::<Vec<_>>(), ["CN=Eng,OU=G"]);
    }
    let many = vec!["g"; 129].join(",");
    let seen = asked(&[("Remote-User", b"alice"), ("Remote-Groups", many.as_bytes())]).await;
    assert_eq!(seen.who, "IdentityMalformed");
    let seen = asked(&[("Remote-User", &[b'a'; 257])]).await;
    assert_eq!(seen.who, "IdentityMalformed");
}

#[tokio::test]
async fn trap_12_groups_without_a_user_are_seen_by_nobody() {
    for peer in [PROXY, STRANGER] {
        let seen =
            ask(builder(), peer, &[("Remote-Groups", b"admins"), ("Remote-Email", b"root@example.com")])
                .await;
        assert!(seen.user.is_none() && seen.headers.is_empty(), "{:?}", seen.headers);
    }
}

/// A handler that reads headers, one that reads the extension, and one that asks for a user.
fn routes(at: &str) -> Router {
    Router::new()
        .route(at, get(tell_axum))
        .route(&format!("{at}/me"), get(|user: RemoteUser| async move { user.name().to_owned() }))
}

#[tokio::test]
async fn trap_13_a_layer_that_is_added_before_merge_and_fallback() {
    let forged = |target: &str| format!("{target} HTTP/1.1\r\nHost: app\r\nRemote-User: admin");
    let layer = builder().build().unwrap();
    let wrong = routes("/a").layer(layer.clone()).merge(routes("/b")).fallback(tell_axum);
    let address = spawn(wrong).await;
    assert_eq!(last_line(&exchange(address, &[&forged("GET /a")]).await), "Unproven []");
    for unscrubbed in ["GET /b", "GET /missing"] {
        assert_eq!(
            last_line(&exchange(address, &[&forged(unscrubbed)]).await),
            "no Identity [\"remote-user\"]"
        );
    }
    // Who asks for a user there is told, and is not taken for nobody.
    let answer = exchange(address, &[&forged("GET /b/me")]).await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");

    let right = routes("/a").merge(routes("/b")).nest("/c", routes("/d")).route("/post", post(tell_axum));
    let right = right.fallback(tell_axum).method_not_allowed_fallback(tell_axum).layer(layer);
    let address = spawn(right).await;
    for request in ["GET /a", "GET /b", "GET /c/d", "GET /missing", "OPTIONS /a", "OPTIONS *", "GET /post"] {
        let answer = exchange(address, &[&forged(request)]).await;
        assert_eq!(last_line(&answer), "Unproven []", "{request}: {answer}");
    }
    assert!(exchange(address, &[&forged("GET /b/me")]).await.starts_with("HTTP/1.1 401 "));
}

/// Writes down the fields of all spans.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<String>>);

impl tracing::field::Visit for Written {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl tracing::Subscriber for Written {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn trap_14_a_trace_layer_outside_logs_the_secret() {
    type App = BoxCloneService<Request<String>, StatusCode, Infallible>;
    fn app<S, R>(service: S) -> App
    where
        S: Service<Request<String>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        R: 'static,
    {
        BoxCloneService::new(service.map_response(|response| response.status()))
    }
    async fn inner(request: Request<String>) -> Result<Response<String>, Infallible> {
        assert_eq!(who(request.extensions().get()), "alice");
        Ok(Response::new(String::new()))
    }
    let log_of = async |app: App| {
        let written = Written::default();
        let _guard = tracing::subscriber::set_default(written.clone());
        let request = Request::get("/").header("remote-user", "alice").header(SECRET_HEADER, SECRET);
        app.oneshot(request.body(String::new()).unwrap()).await.unwrap();
        written.0.lock().unwrap().clone()
    };
    let trace = || {
        TraceLayer::new_for_http()
            .make_span_with(DefaultMakeSpan::new().include_headers(true).level(tracing::Level::ERROR))
    };
    let identity = || ProxyRemoteUserLayer::new(shared_secret()).build().unwrap();

    let outside = log_of(app(ServiceBuilder::new().layer(trace()).layer(identity()).service_fn(inner))).await;
    assert!(outside.contains(SECRET), "the trap is there: {outside}");

    let inside = log_of(app(ServiceBuilder::new().layer(identity()).layer(trace()).service_fn(inner))).await;
    assert!(inside.contains("headers={}"), "{inside}");

    let mark = |mut request: Request<String>| {
        request.headers_mut().get_mut(SECRET_HEADER).unwrap().set_sensitive(true);
        request
    };
    let marked = ServiceBuilder::new().map_request(mark).layer(trace()).layer(identity()).service_fn(inner);
    let marked = log_of(app(marked)).await;
    assert!(marked.contains("x-proxy-secret") && !marked.contains("horse"), "{marked}");
}

#[tokio::test]
async fn trap_15_nothing_of_an_earlier_request_on_the_connection_survives() {
    async fn groups(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
        let identity = request.extensions().get::<Identity>();
        let user = identity.and_then(Identity::user);
        let groups: Vec<_> = user.iter().flat_map(|user| user.groups()).collect();
        Ok(Response::new(format!("<{} {}>", who(identity), groups.join("+"))))
    }
    let address = serve(of_loopback().layer(service_fn(groups))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for lines in [
        "Remote-User: alice\r\nRemote-Groups: admins,ops\r\n",
        "Remote-User: alice\r\n",
        // As a key of values that are put together, these two are one.
        "Remote-User: ab\r\nRemote-Groups: c\r\n",
        "Remote-User: a\r\nRemote-Groups: bc\r\n",
        "",
        "Connection: close\r\n",
    ] {
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: app\r\n{lines}\r\n").as_bytes()).await.unwrap();
    }
    let mut answers = String::new();
    bounded(stream.read_to_string(&mut answers)).await.unwrap();
    let seen: Vec<_> = answers.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).collect();
    assert_eq!(seen, ["alice admins+ops", "alice ", "ab c", "a bc", "Absent ", "Absent "]);
}

#[tokio::test]
async fn trap_16_a_user_that_is_left_over_is_believed_by_nobody() {
    // Planted by an earlier layer.
    let planted = |mut request: Request<()>| {
        let root = RemoteUser::for_test(DetachedUser::new("root"));
        request.extensions_mut().insert(Identity::User(root));
        request
    };
    let tell = |request: Request<()>| async move {
        Ok::<_, Infallible>(Response::new(who(request.extensions().get())))
    };
    for peer in [PROXY, STRANGER] {
        let service = ServiceBuilder::new()
            .layer(PeerAddr::layer(peer.parse::<SocketAddr>().unwrap()))
            .map_request(planted)
            .layer(builder().build().unwrap())
            .service_fn(tell);
        let body =
            service.oneshot(Request::new(())).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, if peer == PROXY { "Absent" } else { "Unproven" });
    }

    // Sent once more, as retries and internal redirects do: with the extensions, without the drained headers.
    let stack = builder().build().unwrap().layer(service_fn(tell));
    let again = move |request: Request<()>| {
        let first = who(request.extensions().get());
        let stack = stack.clone();
        async move {
            let response = stack.oneshot(request).await.unwrap();
            let second = response.into_body().collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(Response::new(format!("{first} {}", std::str::from_utf8(&second).unwrap())))
        }
    };
    let service = ServiceBuilder::new()
        .layer(PeerAddr::layer(PROXY.parse::<SocketAddr>().unwrap()))
        .layer(builder().build().unwrap())
        .service_fn(again);
    let request = Request::get("/").header("remote-user", "alice").body(()).unwrap();
    let body = service.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "alice Absent");
}

#[tokio::test]
async fn trap_17_decoding_is_asked_for_happens_once_and_is_checked_after() {
    let plain = asked(&[("Remote-User", b"=?utf-8?q?admin?=")]).await;
    assert_eq!(plain.who, "=?utf-8?q?admin?=");
    for (encoding, value, expected) in [
        (Encoding::Rfc2047, &b"=?utf-8?q?admin=0D=0AX:_y?="[..], "IdentityMalformed"),
        (Encoding::Percent, b"admin%00", "IdentityMalformed"),
        (Encoding::Percent, b"%2561dmin", "%61dmin"),
        (Encoding::Utf8, b"%61dmin", "%61dmin"),
    ] {
        let seen = ask(builder().encoding(encoding), PROXY, &[("Remote-User", value)]).await;
        assert_eq!(seen.who, expected, "{encoding:?}");
    }
}

#[tokio::test]
async fn trap_18_a_forged_request_of_the_trusted_host() {
    let both = || ProxyRemoteUserLayer::new(Proof::peer(trusted()) & shared_secret());
    let secret = ("X-Proxy-Secret", SECRET.as_bytes());
    let user = ("Remote-User", &b"admin"[..]);
    assert_eq!(ask(both(), PROXY, &[user]).await.who, "Unproven");
    assert_eq!(ask(both(), STRANGER, &[user, secret]).await.who, "Unproven");
    assert_eq!(ask(both(), PROXY, &[user, secret]).await.who, "admin");
}

#[tokio::test]
async fn trap_19_a_secret_that_is_sent_twice_or_empty_or_handed_on() {
    let layer = || ProxyRemoteUserLayer::new(shared_secret());
    let user = ("Remote-User", &b"admin"[..]);
    let real = ("X-Proxy-Secret", SECRET.as_bytes());
    for lines in [
        &[user, ("X-Proxy-Secret", b"guess"), real][..],
        &[user, real, ("X-Proxy-Secret", b"guess")],
        &[user, real, real],
        &[user, ("X-Proxy-Secret", b"")],
        &[user, ("X-Proxy-Secret", &SECRET.as_bytes()[..16])],
        &[user, ("X_Proxy_Secret", SECRET.as_bytes())],
    ] {
        let seen = ask(layer(), STRANGER, lines).await;
        assert_eq!((&*seen.who, seen.headers.len()), ("Unproven", 0), "{lines:?}");
    }
    let seen = ask(layer(), STRANGER, &[user, real]).await;
    assert_eq!((&*seen.who, seen.headers.len()), ("admin", 0));
}

/// A signed assertion as load balancers write it, signed with a key that all accounts of the cloud share.
fn assertion(claims: &str, key: &[u8]) -> Vec<u8> {
    let claims = URL_SAFE_NO_PAD.encode(claims);
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(claims.as_bytes());
    format!("{claims}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())).into_bytes()
}

const CLOUD_KEY: &[u8] = b"the key of the cloud";

fn is_ours(parts: &request::Parts) -> bool {
    let checked = || {
        let mut lines = parts.headers.get_all("x-amzn-oidc-data").iter();
        let (line, None) = (lines.next()?.to_str().ok()?, lines.next()) else { return None };
        let (claims, signature) = line.split_once('.')?;
        let mut mac = Hmac::<Sha256>::new_from_slice(CLOUD_KEY).ok()?;
        mac.update(claims.as_bytes());
        mac.verify_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        Some(claims["signer"] == "arn:ours" && claims["aud"] == "shop")
    };
    checked() == Some(true)
}

#[tokio::test]
async fn trap_20_a_valid_signature_of_another_account() {
    let layer = || {
        ProxyRemoteUserLayer::new(Proof::verify(is_ours))
            .user_header(HeaderName::from_static("x-amzn-oidc-identity"))
    };
    let ours = r#"{"signer":"arn:ours","aud":"shop"}"#;
    for (assertion, expected) in [
        (assertion(ours, CLOUD_KEY), "admin"),
        (assertion(r#"{"signer":"arn:theirs","aud":"shop"}"#, CLOUD_KEY), "Unproven"),
        (assertion(r#"{"signer":"arn:ours","aud":"other"}"#, CLOUD_KEY), "Unproven"),
        (assertion(ours, b"a guess"), "Unproven"),
        (b"".to_vec(), "Unproven"),
    ] {
        let seen =
            ask(layer(), STRANGER, &[("X-Amzn-Oidc-Data", &assertion), ("X-Amzn-Oidc-Identity", b"admin")])
                .await;
        assert_eq!(seen.who, expected);
        assert_eq!(seen.headers.keys().collect::<Vec<_>>(), ["x-amzn-oidc-data"]);
    }
    // The companion alone.
    let seen = ask(layer(), STRANGER, &[("X-Amzn-Oidc-Identity", b"admin")]).await;
    assert_eq!((&*seen.who, seen.headers.len()), ("Unproven", 0));
}

#[tokio::test]
async fn trap_21_another_user_needs_a_new_session_and_another_login_is_left_alone() {
    let identity = async |lines: &[(&str, &[u8])]| {
        let request = |lines: &[(&str, &[u8])]| {
            let mut request = Request::new(());
            for (name, value) in lines {
                request
                    .headers_mut()
                    .append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap());
            }
            request
        };
        let service = ServiceBuilder::new()
            .layer(PeerAddr::layer(PROXY.parse::<SocketAddr>().unwrap()))
            .layer(builder().build().unwrap())
            .service_fn(|request: Request<()>| async move {
                let mut response = Response::new(());
                response.extensions_mut().insert(request.extensions().get::<Identity>().unwrap().clone());
                Ok::<_, Infallible>(response)
            });
        service.oneshot(request(lines)).await.unwrap().extensions().get::<Identity>().unwrap().clone()
    };
    let alice = DetachedUser::new("alice");
    let bob = identity(&[("Remote-User", b"bob")]).await;
    let switch = transition(Some(SessionUser::OfProxy(&alice)), &bob, Mode::Strict);
    assert_eq!(switch, Transition::Switch);
    assert!(switch.needs_new_session_id());
    let nobody = identity(&[]).await;
    let kept = transition(Some(SessionUser::OfApplication(&alice)), &nobody, Mode::Strict);
    assert_eq!(kept, Transition::Keep);
    assert!(!kept.needs_new_session_id());
    let ended = transition(Some(SessionUser::OfProxy(&alice)), &nobody, Mode::Strict);
    assert_eq!((ended, ended.needs_new_session_id()), (Transition::Logout, true));
}

/// Reads the whole body first, so that trailers would have come by then.
async fn tell_trailers(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let (parts, body) = request.into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
    let told = told(parts.extensions.get(), &parts.headers);
    Ok(Response::new(format!("{told}; trailers {:?}", trailers.keys().collect::<Vec<_>>())))
}

#[tokio::test]
async fn trap_22_trailers_name_nobody() {
    let address = serve(of_loopback().layer(service_fn(tell_trailers))).await;
    for (line, expected) in [("Accept: */*", "Absent [\"accept\"]"), ("Remote-User: alice", "alice []")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: app\r\n{line}\r\nTransfer-Encoding: chunked\r\nTrailer: Remote-User\r\n\
             Connection: close\r\n\r\n1\r\nx\r\n0\r\nRemote-User: admin\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        bounded(stream.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(last_line(&answer), format!("{expected}; trailers [\"remote-user\"]"));
    }

    let stream = TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://app/").body(()).unwrap();
    let (response, mut body) = client.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"x"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("remote-user", HeaderValue::from_static("admin"));
    body.send_trailers(trailers).unwrap();
    let mut response = bounded(response).await.unwrap().into_body();
    let text = bounded(response.data()).await.unwrap().unwrap();
    assert_eq!(text, "Absent []; trailers [\"remote-user\"]");
}
