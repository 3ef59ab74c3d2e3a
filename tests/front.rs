//! Client, front end and application over real sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;
use tower_proxied::errors_to_502::ErrorsTo502Layer;
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::front::{SetForwardedLayer, Target, UpstreamLayer};
use tower_proxied::{ForwardedForLayer, PeerAddr, Proxied, TrustedProxies};

async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), test).await.expect("in time")
}

/// Tells what arrived: the target, what `ForwardedFor` made of it, and all header lines by name.
async fn tell(request: Request<Body>) -> Response<Body> {
    let mut text = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    let proxied = request.extensions().get::<Proxied>().expect("ForwardedFor puts it there");
    text += &format!(
        "client={} port={:?} scheme={} host={}\n",
        proxied.client().map_or_else(|| String::from("none"), |ip| ip.to_string()),
        proxied.client_port(),
        proxied.scheme().expect("a scheme"),
        proxied.host().expect("a host"),
    );
    let mut lines: Vec<String> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.as_bytes().escape_ascii()))
        .collect();
    lines.sort();
    text.extend(lines);
    let (body, trailers) = read(request.into_body()).await;
    text += &format!("body {} bytes, trailers {:?}\n", body.len(), trailers);
    let response = Response::builder()
        .header("connection", "x-of-this-connection")
        .header("x-of-this-connection", "1")
        .header("keep-alive", "timeout=5")
        .header("x-page", "1");
    response.body(text.into()).unwrap()
}

async fn read<B>(body: B) -> (Bytes, Option<HeaderMap>)
where
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    (collected.to_bytes(), trailers)
}

async fn application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let forwarded_for = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback())
        .claims(Claims::none().scheme(Written::Set).host(Written::Set));
    let app = axum::Router::new().fallback_service(
        ServiceBuilder::new()
            .layer(forwarded_for)
            .service_fn(|request| async { Ok::<_, Infallible>(tell(request).await) }),
    );
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// A front end that takes `peer` for the client's address, since all clients of a test are on the loopback.
async fn front_end(member: SocketAddr, peer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Incoming>();
    let target: Target = format!("http://{member}").parse().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service = ServiceBuilder::new()
                .layer(PeerAddr::layer(peer.parse::<SocketAddr>().unwrap()))
                .layer(SetForwardedLayer::edge().client_port())
                .layer(ErrorsTo502Layer::new())
                .layer(UpstreamLayer::new(target.clone()))
                .service(client.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                server.serve_connection(TokioIo::new(socket), TowerToHyperService::new(service)).await
            });
        }
    });
    address
}

/// Sends bytes as they are and reads until the server closes.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn addresses_hop_by_hop_fields_and_claims() {
    within(async {
        let front = front_end(application().await, "203.0.113.5:4711").await;
        let answer = raw(
            front,
            "GET /a%2Fb//c?q=%00 HTTP/1.1\r\n\
             Host: Shop.Example:8080\r\n\
             X-Forwarded-For: 6.6.6.6\r\n\
             X_Forwarded_For: 6.6.6.6\r\n\
             Forwarded: for=6.6.6.6\r\n\
             X-Forwarded-Proto: https\r\n\
             X-Mine: 1\r\n\
             Keep-Alive: timeout=9\r\n\
             Connection: close, X-Mine, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto\r\n\r\n",
        )
        .await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("x-page: 1"), "{head}");
        for gone in ["x-of-this-connection", "keep-alive"] {
            assert!(!head.contains(gone), "{head}");
        }
        assert_eq!(
            body,
            "GET /a%2Fb//c?q=%00 HTTP/1.1\n\
             client=203.0.113.5 port=Some(4711) scheme=http host=shop.example:8080\n\
             host: Shop.Example:8080\n\
             x-forwarded-for: 203.0.113.5:4711\n\
             x-forwarded-host: shop.example:8080\n\
             x-forwarded-proto: http\n\
             body 0 bytes, trailers None\n"
        );
    })
    .await;
}

#[tokio::test]
async fn http_2_from_a_client_over_ipv6() {
    within(async {
        let front = front_end(application().await, "[2001:db8::7]:4711").await;
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
        let request = Request::post(format!("http://{front}/page"))
            .version(Version::HTTP_2)
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Full::from("12345"))
            .unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        let (body, _) = read(response.into_body()).await;
        let body = String::from_utf8_lossy(&body);
        assert!(body.starts_with("POST /page HTTP/1.1\n"), "{body}");
        for line in [
            &format!("client=2001:db8::7 port=Some(4711) scheme=http host={front}"),
            &format!("host: {front}"),
            "x-forwarded-for: [2001:db8::7]:4711",
            "cookie: a=1; b=2",
            "content-length: 5",
            "body 5 bytes, trailers None",
        ] {
            assert!(body.lines().any(|found| found == line), "{line} in {body}");
        }
    })
    .await;
}

#[tokio::test]
async fn streams_a_body_of_unknown_length_with_its_trailers() {
    within(async {
        let front = front_end(application().await, "203.0.113.5:4711").await;
        let chunks = (0..64).map(|_| Frame::data(Bytes::from(vec![b'x'; 10_000])));
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "42".parse().unwrap());
        let frames = chunks.chain([Frame::trailers(trailers)]).collect::<Vec<_>>();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let body = Frames(frames.into_iter());
        let request =
            Request::post(format!("http://{front}/")).header("trailer", "x-checksum").body(body).unwrap();
        let (body, _) = read(client.request(request).await.unwrap().into_body()).await;
        let body = String::from_utf8_lossy(&body);
        assert!(body.ends_with("body 640000 bytes, trailers Some({\"x-checksum\": \"42\"})\n"), "{body}");
    })
    .await;
}

/// A body of frames, of a length that nobody knows.
struct Frames<I>(I);

impl<I> http_body::Body for Frames<I>
where
    I: Iterator<Item = Frame<Bytes>> + Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

#[tokio::test]
async fn a_dead_member_is_a_502_and_a_malformed_host_a_400() {
    within(async {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let front = front_end(closed, "203.0.113.5:4711").await;
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let response = client.get(format!("http://{front}/").parse().unwrap()).await.unwrap();
        assert_eq!(response.status(), 502);
        let (body, _) = read(response.into_body()).await;
        assert_eq!(body, "the application server did not answer");

        let answer = raw(front, "GET / HTTP/1.1\r\nHost: a@b\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(!answer.contains("a@b"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn connections_are_kept_alive_on_both_sides() {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new()
            .fallback(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() })
            .into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let front = front_end(address, "203.0.113.5:4711").await;

        let mut socket = TcpStream::connect(front).await.unwrap();
        let mut peers = Vec::new();
        for _ in 0..3 {
            socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n").await.unwrap();
            let (mut answer, mut chunk) = (Vec::new(), [0; 1024]);
            while !answer.windows(10).any(|bytes| bytes == b"127.0.0.1:") {
                let read = socket.read(&mut chunk).await.unwrap();
                assert!(read > 0, "the front end closed: {}", answer.escape_ascii());
                answer.extend_from_slice(&chunk[..read]);
            }
            peers.push(String::from_utf8(answer).unwrap().rsplit('\n').next().unwrap().to_owned());
        }
        assert!(peers.iter().all(|peer| *peer == peers[0]), "{peers:?}");
    })
    .await;
}
