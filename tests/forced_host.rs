//! ForcedHost behind ForwardedFor, in an axum server on a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::{any, get};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;
use tower_proxied::forced_host::{AllowedHosts, ForcedHostLayer};
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::{ForwardedForLayer, PublicUrl, TrustedProxies};

async fn reset(public: PublicUrl) -> String {
    public.absolute("/reset/abc").unwrap()
}

async fn current(public: PublicUrl, request: Request) -> String {
    public.current(&request.into_parts().0)
}

async fn probe(public: Option<PublicUrl>) -> &'static str {
    if public.is_some() { "somewhere" } else { "nowhere" }
}

/// Behind a proxy at 127.0.0.1 that sets the scheme, and the host where it forwards one.
async fn serve() -> SocketAddr {
    let stack = ServiceBuilder::new()
        .layer(
            ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback())
                .claims(Claims::none().scheme(Written::Set.optional()).host(Written::Set.optional())),
        )
        .layer(
            ForcedHostLayer::allowed(AllowedHosts::from_static(&["example.com", ".example.org"]))
                .use_proxied()
                .exempt_path("/healthz"),
        );
    let app = Router::new()
        .route("/reset", get(reset))
        .route("/healthz", get(probe))
        .fallback(any(current))
        .layer(stack)
        .route("/outside", get(reset));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
    });
    address
}

async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// Status and body of a request that is written byte for byte.
async fn http1(address: SocketAddr, head: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = head.replace('\n', "\r\n");
    socket.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn http1_requests() {
    in_time(async {
        let address = serve().await;
        for (head, status, body) in [
            ("GET /reset HTTP/1.1\nHost: Example.COM.", 200, "http://example.com/reset/abc"),
            (
                "GET /reset HTTP/1.1\nHost: 10.0.0.1:8000\nX-Forwarded-Host: a.example.org\nX-Forwarded-Proto: https",
                200,
                "https://a.example.org/reset/abc",
            ),
            ("GET /reset HTTP/1.1\nHost: evil.example", 421, "host not allowed"),
            (
                "GET /reset HTTP/1.1\nHost: example.com\nX-Forwarded-Host: evil.example",
                421,
                "host not allowed",
            ),
            ("GET /reset HTTP/1.1\nHost: example.com@evil.example", 400, "host malformed"),
            ("GET /reset HTTP/1.1\nHost: example.com\nHost: evil.example", 400, "host duplicate"),
            ("GET /reset HTTP/1.0\nAccept: */*", 400, "host missing"),
            ("GET http://evil.example/reset HTTP/1.1\nHost: example.com", 421, "host not allowed"),
            ("GET http://example.com@evil.example/reset HTTP/1.1\nHost: example.com", 400, "host malformed"),
            ("GET https://example.com/reset HTTP/1.1\nHost: evil.example", 200, "http://example.com/reset/abc"),
            ("GET //evil.example/%2e?a=%zz HTTP/1.1\nHost: example.com", 200, "http://example.com//evil.example/%2e?a=%zz"),
            ("OPTIONS * HTTP/1.1\nHost: example.com", 200, "http://example.com"),
            ("GET /healthz HTTP/1.1\nHost: 10.0.3.17:8080", 200, "nowhere"),
            ("GET /outside HTTP/1.1\nHost: example.com", 500, "layer missing: ForcedHostLayer"),
        ] {
            let seen = http1(address, head).await;
            assert_eq!(seen.0, status, "{head}\n{}", seen.1);
            match status {
                200 => assert_eq!(seen.1, body, "{head}"),
                _ => assert!(seen.1.starts_with(body), "{head}\n{}", seen.1),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn http2_authority() {
    in_time(async {
        let address = serve().await;
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        for (target, host, status, body) in [
            ("https://example.com/reset", None, 200, "http://example.com/reset/abc"),
            ("https://example.com/reset", Some("Example.com:443"), 200, "http://example.com/reset/abc"),
            ("https://example.com/reset", Some("a.example.org"), 400, "host mismatch"),
            ("https://evil.example/reset", None, 421, "host not allowed"),
        ] {
            let mut request = http::Request::get(target);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let response = client.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{target} {host:?}");
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert!(text.starts_with(body.as_bytes()), "{target} {host:?} {text:?}");
        }
    })
    .await;
}
