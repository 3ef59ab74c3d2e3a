//! ForceHttpsBody over a real connection: lengths, chunks, trailers and validators as a client sees them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::ServiceBuilder;
use tower_http::compression::CompressionLayer;
use tower_http::trace::TraceLayer;
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::{ForceHttpsBodyLayer, ForwardedForLayer, TrustedProxies};

const PAGE: &str =
    r#"<base href="http://www.example.com/"><a href="http://h/">a</a><img src="http://h:80/x">"#;
const UPGRADED: &str =
    r#"<base href="https://www.example.com/"><a href="http://h/">a</a><img src="https://h/x">"#;
const CLEAN: &str = r#"<a href="http://h/">a</a><img src="/x">"#;

fn page(page: &'static str) -> Response<Body> {
    Response::builder()
        .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
        .header(header::CONTENT_LENGTH, page.len())
        .header(header::ETAG, "\"v1\"")
        .body(page.into())
        .unwrap()
}

/// Three bytes at a time, then a checksum of the bytes as they were, and a trailer that stays true.
fn stream() -> Response<Body> {
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        let trailers = ["repr-digest", "x-rows"]
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("sha-256=:AA==:")));
        let pieces = PAGE.as_bytes().chunks(3).map(|piece| Frame::data(Bytes::from_static(piece)));
        for frame in pieces.chain([Frame::trailers(HeaderMap::from_iter(trailers))]) {
            if send.send(frame).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    Response::builder()
        .header(header::CONTENT_TYPE, "text/html")
        .header(header::TRAILER, "x-rows, repr-digest")
        .body(Body::new(Frames(receive)))
        .unwrap()
}

struct Frames(mpsc::Receiver<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

async fn serve() -> SocketAddr {
    let pages = Router::new()
        .route("/page", get(|| async { page(PAGE) }))
        .route("/clean", get(|| async { page(CLEAN) }))
        .route("/stream", get(|| async { stream() }));
    let claims = Claims::none().scheme(Written::Set).host(Written::Set);
    let stack = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback()).claims(claims))
        .layer(ForceHttpsBodyLayer::new());
    let app = Router::new().fallback_service(pages).layer(stack);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
    });
    address
}

struct Answer {
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

async fn ask(address: SocketAddr, method: &str, path: &str, scheme: &str) -> Answer {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "internal:8000")
        .header(header::TE, "trailers")
        .header("x-forwarded-for", "203.0.113.5")
        .header("x-forwarded-proto", scheme)
        .header("x-forwarded-host", "www.example.com")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let (parts, body) = client.send_request(request).await.unwrap().into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Answer { headers: parts.headers, body: collected.to_bytes(), trailers }
}

#[tokio::test]
async fn as_a_client_sees_it() {
    tokio::time::timeout(Duration::from_secs(20), async {
        let address = serve().await;

        let whole = ask(address, "GET", "/page", "https").await;
        assert_eq!(whole.body, UPGRADED);
        assert_eq!(whole.headers[header::CONTENT_LENGTH], UPGRADED.len().to_string());
        assert_eq!(whole.headers[header::ETAG], "W/\"v1\"");
        assert!(whole.headers.get_all(header::VARY).iter().any(|vary| vary == "x-forwarded-proto"));

        let plain = ask(address, "GET", "/page", "http").await;
        assert_eq!(plain.body, PAGE);
        assert_eq!(plain.headers[header::CONTENT_LENGTH], PAGE.len().to_string());
        assert_eq!(plain.headers[header::ETAG], "\"v1\"");
        assert!(plain.headers.get_all(header::VARY).iter().any(|vary| vary == "x-forwarded-proto"));

        let clean = ask(address, "GET", "/clean", "https").await;
        assert_eq!(clean.body, CLEAN);
        assert_eq!(clean.headers[header::CONTENT_LENGTH], CLEAN.len().to_string());
        assert_eq!(clean.headers[header::ETAG], "\"v1\"");

        let head = ask(address, "HEAD", "/page", "https").await;
        assert_eq!(head.body, "");
        assert!(!head.headers.contains_key(header::CONTENT_LENGTH));
        assert_eq!(head.headers[header::ETAG], "W/\"v1\"");

        let stream = ask(address, "GET", "/stream", "https").await;
        assert_eq!(stream.body, UPGRADED);
        assert_eq!(stream.trailers.len(), 1);
        assert_eq!(stream.trailers["x-rows"], "sha-256=:AA==:");
    })
    .await
    .unwrap();
}
