//! ForceHttpsBody over a real connection: lengths, chunks, trailers and validators as a client sees them.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeDir;
use tower_http::trace::TraceLayer;
use tower_proxied::force_https_body::Rewrite;
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
fn stream(page: &'static str) -> Response<Body> {
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        let trailers = ["repr-digest", "x-rows"]
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("sha-256=:AA==:")));
        let pieces = page.as_bytes().chunks(3).map(|piece| Frame::data(Bytes::from_static(piece)));
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

/// A folder with the page in it.
fn files() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("force_https_body");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("page.html"), PAGE).unwrap();
    folder
}

async fn serve() -> SocketAddr {
    let pages = Router::new()
        .route("/page", get(|| async { page(PAGE) }))
        .route("/clean", get(|| async { page(CLEAN) }))
        .route("/stream", get(|| async { stream(PAGE) }))
        .nest_service("/files", ServeDir::new(files()));
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

/// One connection, for one request after the other.
enum Connection {
    Http1(hyper::client::conn::http1::SendRequest<Empty<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Empty<Bytes>>),
}

impl Connection {
    async fn http1(address: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self::Http1(client)
    }

    async fn http2(address: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let client = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (client, connection) = client.await.unwrap();
        tokio::spawn(connection);
        Self::Http2(client)
    }

    async fn ask(&mut self, method: &str, path: &str, scheme: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .header(header::TE, "trailers")
            .header("x-forwarded-for", "203.0.113.5")
            .header("x-forwarded-proto", scheme)
            .header("x-forwarded-host", "www.example.com");
        let body = Empty::<Bytes>::new();
        let (parts, body) = match self {
            Self::Http1(client) => {
                client.ready().await.unwrap();
                let request = request.uri(path).header(header::HOST, "internal:8000");
                client.send_request(request.body(body).unwrap()).await
            }
            Self::Http2(client) => {
                let request = request.uri(format!("http://internal:8000{path}"));
                client.send_request(request.body(body).unwrap()).await
            }
        }
        .unwrap()
        .into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Answer { headers: parts.headers, body: collected.to_bytes(), trailers }
    }
}

#[tokio::test]
async fn as_a_client_sees_it() {
    tokio::time::timeout(Duration::from_secs(20), async {
        let address = serve().await;
        see(Connection::http1(address).await).await;
        see(Connection::http2(address).await).await;
    })
    .await
    .unwrap();
}

/// Twice over one connection, where a wrong length would show in the next answer.
async fn see(mut client: Connection) {
    for _ in 0..2 {
        let whole = client.ask("GET", "/page", "https").await;
        assert_eq!(whole.body, UPGRADED);
        assert_eq!(whole.headers[header::CONTENT_LENGTH], UPGRADED.len().to_string());
        assert_eq!(whole.headers[header::ETAG], "W/\"v1\"");
        assert!(whole.headers.get_all(header::VARY).iter().any(|vary| vary == "x-forwarded-proto"));

        let plain = client.ask("GET", "/page", "http").await;
        assert_eq!(plain.body, PAGE);
        assert_eq!(plain.headers[header::CONTENT_LENGTH], PAGE.len().to_string());
        assert_eq!(plain.headers[header::ETAG], "\"v1\"");
        assert!(plain.headers.get_all(header::VARY).iter().any(|vary| vary == "x-forwarded-proto"));

        let clean = client.ask("GET", "/clean", "https").await;
        assert_eq!(clean.body, CLEAN);
        assert_eq!(clean.headers[header::CONTENT_LENGTH], CLEAN.len().to_string());
        assert_eq!(clean.headers[header::ETAG], "\"v1\"");

        let head = client.ask("HEAD", "/page", "https").await;
        assert_eq!(head.body, "");
        assert!(!head.headers.contains_key(header::CONTENT_LENGTH));
        assert_eq!(head.headers[header::ETAG], "W/\"v1\"");

        let stream = client.ask("GET", "/stream", "https").await;
        assert_eq!(stream.body, UPGRADED);
        assert_eq!(stream.trailers.len(), 1);
        assert_eq!(stream.trailers["x-rows"], "sha-256=:AA==:");
        assert!(!stream.headers.contains_key(header::CONTENT_LENGTH));

        let file = client.ask("GET", "/files/page.html", "https").await;
        assert_eq!(file.body, UPGRADED);
        let head = client.ask("HEAD", "/files/page.html", "https").await;
        assert_eq!(head.headers[header::ETAG], file.headers[header::ETAG]);
        assert!(!head.headers.contains_key(header::CONTENT_LENGTH));
        let plain = client.ask("HEAD", "/files/page.html", "http").await;
        assert_eq!(plain.headers[header::CONTENT_LENGTH], PAGE.len().to_string());
    }
}

thread_local! {
    static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

#[tokio::test]
async fn a_report_tells_where_templates_still_write_http() {
    let told = |rewrite: &Rewrite<'_>| {
        let Rewrite { element, attribute, host, offset, .. } = rewrite;
        TOLD.with_borrow_mut(|told| told.push(format!("{element} {attribute} {host} {offset}")));
    };
    let layer = ForceHttpsBodyLayer::new().secure_when(|_| true).report_only().on_rewrite(told);
    let router = Router::new()
        .route(
            "/",
            get(|| async { stream("<link href=http://a/ rel=icon><img src='http://B.example:80/x'>") }),
        )
        .route("/open", get(|| async { stream("<style>a{b:url(http://c") }))
        .layer(layer);
    for path in ["/", "/open"] {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let body = router.clone().oneshot(request).await.unwrap().into_body();
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap().len(), 2);
    }
    TOLD.with_borrow(|told| assert_eq!(*told, ["link href a 11", "img src b.example 40", "style  c 15"]));
}
