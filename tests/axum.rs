//! The stack in axum, over real sockets, with `axum::serve`.

mod common;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use common::{exchange, stack};
use tower::ServiceBuilder;
use tower_proxied::proxy_remote_user::RequireGroupLayer;
use tower_proxied::{Identity, PeerAddr, Proxied, PublicUrl, ScriptName};

fn router() -> Router {
    async fn seen(request: Request) -> String {
        let extensions = request.extensions();
        let client = extensions.get::<Proxied>().and_then(Proxied::client);
        let user = extensions.get::<Identity>().and_then(Identity::user).map(|user| user.name().to_owned());
        let public = extensions.get::<PublicUrl>().map(PublicUrl::to_string);
        let mounted = extensions.get::<ScriptName>().map(|name| name.prefix().to_string());
        let mut names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        format!("{client:?} {user:?} {public:?} {mounted:?} {} {names:?}", request.uri())
    }
    Router::new()
        .route("/page", get(|| async { Html("<img src=\"http://static.example/logo.png\">") }))
        .route("/old", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/new")]) }))
        .route("/cookie", get(|| async { ([(header::SET_COOKIE, "a=b; Path=/")], "").into_response() }))
        .fallback(seen)
}

async fn serve() -> SocketAddr {
    let app = Router::new().fallback_service(ServiceBuilder::new().layer(stack()).service(router()));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<PeerAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

const PROXY: &str = "X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-Proto: https";

#[tokio::test]
async fn the_application_sees_client_user_and_address() {
    let answer = exchange(
        serve().await,
        &[
            "GET /webapps/a//b?q=1 HTTP/1.1",
            "Host: app",
            "X-Forwarded-For: 6.6.6.6",
            PROXY,
            "Remote-User: alice",
            "Remote_User: admin",
        ],
    )
    .await;
    let seen = answer.lines().last().unwrap();
    assert_eq!(
        seen,
        "Some(203.0.113.5) Some(\"alice\") Some(\"https://www.example.org/webapps\") Some(\"/webapps\") \
         /a//b?q=1 [\"connection\", \"host\", \"x-forwarded-for\", \"x-forwarded-proto\"]"
    );
}

#[tokio::test]
async fn responses_are_public() {
    let address = serve().await;
    let page = exchange(address, &["GET /webapps/page HTTP/1.1", "Host: app", PROXY]).await;
    assert!(page.contains("<img src=\"https://static.example/logo.png\">"), "{page}");
    let redirect = exchange(address, &["GET /webapps/old HTTP/1.1", "Host: app", PROXY]).await;
    assert!(redirect.contains("\r\nlocation: /webapps/new\r\n"), "{redirect}");
    let cookie = exchange(address, &["GET /webapps/cookie HTTP/1.1", "Host: app", PROXY]).await;
    assert!(cookie.contains("\r\nset-cookie: a=b; Path=/webapps\r\n"), "{cookie}");
    let outside = exchange(address, &["GET /webappsX HTTP/1.1", "Host: app", PROXY]).await;
    assert!(outside.starts_with("HTTP/1.1 404 "), "{outside}");
}

#[tokio::test]
async fn an_insecure_page_stays_as_it_is() {
    let answer = exchange(
        serve().await,
        &[
            "GET /webapps/page HTTP/1.1",
            "Host: app",
            "X-Forwarded-For: 203.0.113.5",
            "X-Forwarded-Proto: http",
        ],
    )
    .await;
    assert!(answer.contains("<img src=\"http://static.example/logo.png\">"), "{answer}");
}

#[tokio::test]
async fn without_connect_info_it_says_what_to_do() {
    let app = Router::new().fallback_service(ServiceBuilder::new().layer(stack()).service(router()));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let answer = exchange(address, &["GET /webapps/ HTTP/1.1", "Host: app"]).await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(answer.contains("into_make_service_with_connect_info::<PeerAddr>()"), "{answer}");
}

/// `route_layer` guards the routes before it, `layer` on a nested router all of that router.
#[tokio::test]
async fn groups_guard_routes_and_nested_routers() {
    let admin = Router::new()
        .route("/", get(|| async { "admin" }))
        .route("/healthz", get(|| async { "fine" }))
        .layer(RequireGroupLayer::all_of(["ops", "root"]).exempt_path("/healthz"));
    let guarded = Router::new()
        .route("/jobs", get(|| async { "jobs" }))
        .route_layer(RequireGroupLayer::any_of(["dev", "ops"]))
        .route("/open", get(|| async { "open" }))
        .nest("/admin", admin);
    let app = Router::new().fallback_service(ServiceBuilder::new().layer(stack()).service(guarded));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        axum::serve(listener, app.into_make_service_with_connect_info::<PeerAddr>()).await
    });
    for (path, lines, status) in [
        ("/open", &[][..], "200"),
        ("/jobs", &[], "401"),
        ("/jobs", &["Remote-User: alice"], "403"),
        ("/jobs", &["Remote-User: alice", "Remote-Groups: dev"], "200"),
        ("/jobs", &["Remote-Groups: dev"], "401"),
        ("/nothing", &[], "404"),
        ("/admin", &["Remote-User: alice", "Remote-Groups: ops"], "403"),
        ("/admin", &["Remote-User: alice", "Remote-Groups: ops,root"], "200"),
        ("/admin/healthz", &[], "200"),
    ] {
        let start = format!("GET /webapps{path} HTTP/1.1");
        let mut request = vec![&*start, "Host: app", PROXY];
        request.extend(lines);
        let answer = exchange(address, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {lines:?}: {answer}");
        assert_eq!(answer.contains("\r\nwww-authenticate: RemoteUser\r\n"), status == "401", "{answer}");
    }
}
