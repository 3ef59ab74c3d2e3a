//! A rate limiter that knows axum's `ConnectInfo` only, behind a proxy.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use http::{Request, StatusCode};
use tower::{ServiceBuilder, ServiceExt};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_proxied::{ForwardedForLayer, PeerAddr, TrustedProxies};

/// One request a minute for each client.
fn app(forwarded_for: ForwardedForLayer) -> Router {
    let config = GovernorConfigBuilder::default().per_second(60).burst_size(1).finish().unwrap();
    let told = async |ConnectInfo(client): ConnectInfo<SocketAddr>, request: Request<Body>| {
        format!("{client} by {}", PeerAddr::of(request.extensions()).unwrap())
    };
    Router::new()
        .route("/", get(told))
        .layer(ServiceBuilder::new().layer(forwarded_for).layer(GovernorLayer::new(config)))
}

async fn ask(app: &Router, forwarded_for: &str) -> (StatusCode, String) {
    let mut request = Request::get("/").header("x-forwarded-for", forwarded_for).body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 4711))));
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, 1024).await.unwrap();
    (parts.status, String::from_utf8(body.to_vec()).unwrap())
}

fn forwarded_for() -> ForwardedForLayer {
    ForwardedForLayer::x_forwarded_for(TrustedProxies::parse(["10.0.0.1"]).unwrap())
}

#[tokio::test]
async fn each_client_has_its_own_limit() {
    let app = app(forwarded_for().replace_connect_info());
    let told = (StatusCode::OK, "203.0.113.5:0 by 10.0.0.1:4711".to_owned());
    assert_eq!(ask(&app, "203.0.113.5").await, told, "and the truth about the socket stays");
    assert_eq!(ask(&app, "203.0.113.5").await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask(&app, "203.0.113.6").await.0, StatusCode::OK);
    // What a client writes to the left buys no further request.
    assert_eq!(ask(&app, "6.6.6.6, 203.0.113.6").await.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn without_it_all_clients_share_the_proxys() {
    let app = app(forwarded_for());
    assert_eq!(ask(&app, "203.0.113.5").await.0, StatusCode::OK);
    assert_eq!(ask(&app, "203.0.113.6").await.0, StatusCode::TOO_MANY_REQUESTS);
}
