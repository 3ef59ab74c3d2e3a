//! Members of three kinds behind a front end, all over sockets of their own: axum's Router, hyper-util's client and
//! tonic's Channel; and WebSockets through a pool.

use std::any::Any;
use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::upgrade::{self, OnUpgrade};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};
use tower_proxied::front::{Target, UpstreamLayer};
use tower_proxied::sticky_route::{
    Decision, Failover, InFlightUpgrade, Member, Membership, Phase, RequestBody, RouteCookie, State,
    StickyRoute, StickyRouteLayer,
};

type HttpClient = Client<HttpConnector, RequestBody<Incoming>>;

async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), test).await.expect("in time")
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port where nobody listens.
async fn dead() -> SocketAddr {
    listen().await.1
}

/// Serves each connection with a service of its own, by HTTP/1.1 or HTTP/2.
async fn serve<F, S, B>(mut service: F) -> SocketAddr
where
    F: FnMut() -> S + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                server.serve_connection_with_upgrades(TokioIo::new(stream), service).await
            });
        }
    });
    address
}

fn http_client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

fn to(address: SocketAddr) -> UpstreamLayer {
    UpstreamLayer::new(Target::parse(&format!("http://{address}")).unwrap())
}

/// An application that tells its route, the cookies that it sees, and the body.
fn application(route: &'static str) -> Router {
    Router::new().fallback(move |headers: HeaderMap, body: String| async move {
        let cookies = headers.get("cookie").map_or("", |line| line.to_str().unwrap());
        format!("{route} {cookies} {body}")
    })
}

async fn application_server(route: &'static str) -> SocketAddr {
    serve(move || application(route)).await
}

/// The pin that the client gets, and what the application says.
async fn send(front: SocketAddr, method: &str, cookie: &str, body: &'static str) -> (Option<String>, String) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{front}/"))
        .header("cookie", cookie)
        .body(body.into())
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let pin = response.headers().get("set-cookie").map(|line| pin_of(line.to_str().unwrap()));
    (pin, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap())
}

fn pin_of(set_cookie: &str) -> String {
    set_cookie.split(';').next().unwrap().to_owned()
}

/// A new client is pinned, comes back, and moves when its member cannot be reached: `kill` sees to that.
async fn stick_and_move<M>(front: SocketAddr, members: &Membership<M>, kill: impl AsyncFnOnce(&str)) {
    let (pin, answer) = send(front, "GET", "x=1", "").await;
    let pin = pin.expect("a new client is pinned");
    let route = answer.split(' ').next().unwrap().to_owned();
    assert_eq!(answer, format!("{route} x=1 "));
    for _ in 0..4 {
        let hit = send(front, "POST", &format!("x=1; {pin}"), "page").await;
        assert_eq!(hit, (None, format!("{route} x=1 page")));
    }
    kill(&route).await;
    let (moved, answer) = send(front, "POST", &pin, "form").await;
    assert_ne!(moved.expect("pinned anew"), pin);
    assert!(!answer.starts_with(&route) && answer.ends_with("  form"), "{answer}");
    all_idle(members).await;
}

/// Ends when no member has a request.
async fn all_idle<M>(members: &Membership<M>) {
    for member in members.status() {
        members.drain(member.route().as_str(), Duration::from_secs(10)).unwrap().await.unwrap();
    }
    assert!(members.status().iter().all(|member| member.in_flight() == 0));
}

fn state<M>(members: &Membership<M>, route: &str) -> State {
    members.status().iter().find(|member| member.route().as_str() == route).unwrap().state()
}

#[tokio::test]
async fn clients_of_hyper_util_below_a_layer() {
    within(async {
        let (one, two) = (application_server("http-1").await, application_server("http-2").await);
        let balanced: StickyRouteLayer = StickyRoute::builder("shop")
            .upstream("http-1", &format!("http://{one}"))
            .member(Member::new("http-2", to(two)).weight(2))
            .cookie(RouteCookie::opaque([[42; 32]]))
            .classify(Phase::of_hyper_util)
            .into_layer()
            .unwrap();
        let members = balanced.membership();
        // A stack for each connection: the pool is one.
        let client = http_client();
        let front = serve(move || balanced.layer(client.clone()).errors_to_502()).await;
        stick_and_move(front, &members, async |route: &str| {
            members.insert(Member::new(route, to(dead().await))).unwrap();
        })
        .await;
        assert_eq!(members.status().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn routers_in_the_process_beside_a_server_that_is_gone() {
    type Erased = BoxCloneSyncService<Request<RequestBody<Incoming>>, Response<axum::body::Body>, BoxError>;

    /// The application in this process, or a server elsewhere.
    fn in_process(route: &'static str) -> Erased {
        BoxCloneSyncService::new(ServiceBuilder::new().map_err(BoxError::from).service(application(route)))
    }

    fn elsewhere(address: SocketAddr) -> Erased {
        let service = ServiceBuilder::new()
            .map_err(BoxError::from)
            .map_response(|response: Response<_>| response.map(axum::body::Body::new))
            .layer(to(address))
            .service(http_client());
        BoxCloneSyncService::new(service)
    }

    within(async {
        let sticky = StickyRoute::builder("shop")
            .member(Member::new("http-1", in_process("http-1")))
            .member(Member::new("http-2", in_process("http-2")))
            .cookie(RouteCookie::opaque([[42; 32]]))
            .classify(Phase::of_hyper_util)
            .build()
            .unwrap();
        let members = sticky.membership();
        let front = serve(move || sticky.clone().errors_to_502()).await;
        stick_and_move(front, &members, async |route: &str| {
            members.insert(Member::new(route, elsewhere(dead().await))).unwrap();
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn routers_alone_need_no_client_and_no_errors() {
    within(async {
        let sticky = StickyRoute::builder("shop")
            .member(Member::new("http-1", application("http-1")))
            .member(Member::new("http-2", application("http-2")))
            .cookie(RouteCookie::opaque([[42; 32]]))
            .build()
            .unwrap();
        let members = sticky.membership();
        let front = serve(move || Router::new().fallback_service(sticky.clone())).await;
        stick_and_move(front, &members, async |route: &str| {
            members.set_state(route, State::Disabled).unwrap();
        })
        .await;
    })
    .await;
}

/// Tells its route, and the cookies that it sees.
struct Teller(&'static str);

#[tonic::async_trait]
impl Health for Teller {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, tonic::Status> {
        let cookies = request.metadata().get("cookie").map_or("", |line| line.to_str().unwrap());
        let told = format!("{} {cookies} {}", self.0, request.get_ref().service).parse().unwrap();
        let mut response = tonic::Response::new(HealthCheckResponse { status: 1 });
        response.metadata_mut().insert("told", told);
        Ok(response)
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, tonic::Status>>;

    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, tonic::Status> {
        Ok(tonic::Response::new(tokio_stream::empty()))
    }
}

async fn grpc_server(route: &'static str) -> SocketAddr {
    let (listener, address) = listen().await;
    let server = Server::builder().add_service(HealthServer::new(Teller(route)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn channel(address: SocketAddr) -> Channel {
    Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy()
}

/// tonic's own error of a connection that did not come about, among the sources.
fn phase_of_tonic(error: &dyn Any) -> Phase {
    let error = error.downcast_ref::<tonic::transport::Error>();
    let mut source = error.and_then(|error| error.source());
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return Phase::Connect;
        }
        source = error.source();
    }
    Phase::Sent
}

async fn check(front: SocketAddr, cookie: &str) -> (Option<String>, String) {
    let mut client = HealthClient::new(channel(front));
    let mut request = tonic::Request::new(HealthCheckRequest { service: "shop".into() });
    request.metadata_mut().insert("cookie", cookie.parse().unwrap());
    let response = client.check(request).await.unwrap();
    let line = |name| response.metadata().get(name).map(|line| line.to_str().unwrap().to_owned());
    (line("set-cookie").as_deref().map(pin_of), line("told").unwrap())
}

#[tokio::test]
async fn channels_of_tonic() {
    within(async {
        let over_channel = |address| {
            ServiceBuilder::new()
                .map_request(|request: Request<RequestBody<Incoming>>| request.map(tonic::body::Body::new))
                .service(channel(address))
        };
        let sticky = StickyRoute::builder("grpc")
            .member(Member::new("one", over_channel(grpc_server("one").await)))
            .member(Member::new("two", over_channel(grpc_server("two").await)))
            // All calls of gRPC are POST.
            .cookie(RouteCookie::opaque([[42; 32]]))
            .classify(phase_of_tonic)
            .failover(Failover::default().eject_after(1))
            .build()
            .unwrap();
        let members = sticky.membership();
        let front = serve(move || sticky.clone().errors_to_502()).await;

        let (pin, told) = check(front, "x=1").await;
        let pin = pin.expect("a new client is pinned");
        let route = told.split(' ').next().unwrap().to_owned();
        assert_eq!(told, format!("{route} x=1 shop"));
        for _ in 0..4 {
            assert_eq!(check(front, &format!("x=1; {pin}")).await, (None, told.clone()));
        }
        members.insert(Member::new(&route, over_channel(dead().await))).unwrap();
        let (moved, answer) = check(front, &pin).await;
        assert_ne!(moved.expect("pinned anew"), pin);
        assert!(!answer.starts_with(&route) && answer.ends_with("  shop"), "{answer}");
        assert_eq!(state(&members, &route), State::Ejected);
        all_idle(&members).await;
    })
    .await;
}

/// Agrees to WebSockets, counts them, and sends back what comes.
async fn echo_server(handshakes: Arc<AtomicUsize>) -> SocketAddr {
    serve(move || {
        let handshakes = handshakes.clone();
        tower::service_fn(move |mut request: Request<Incoming>| {
            handshakes.fetch_add(1, Ordering::SeqCst);
            let client = upgrade::on(&mut request);
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(TokioIo::new(client.await.unwrap()));
                tokio::io::copy(&mut reader, &mut writer).await
            });
            let agreed = Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header(header::CONNECTION, "upgrade")
                .header(header::UPGRADE, "websocket")
                .body(Full::<Bytes>::default());
            std::future::ready(agreed)
        })
    })
    .await
}

/// Joins both connections once they have agreed. The member is busy the while, if that is kept.
async fn join(
    mut request: Request<Incoming>,
    pool: impl Service<
        Request<Incoming>,
        Response = Response<impl Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static>,
        Error = std::convert::Infallible,
        Future: Send,
    > + Send,
    keeps: bool,
) -> Result<Response<axum::body::Body>, BoxError> {
    let client = upgrade::on(&mut request);
    let mut response = pool.oneshot(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        assert_eq!(response.extensions().get::<Decision>().unwrap().attempts(), 1);
        let in_flight = response.extensions_mut().remove::<InFlightUpgrade>().filter(|_| keeps);
        let member: OnUpgrade = upgrade::on(&mut response);
        tokio::spawn(async move {
            let (client, member) = tokio::try_join!(client, member)?;
            let (mut client, mut member) = (TokioIo::new(client), TokioIo::new(member));
            let joined = tokio::io::copy_bidirectional(&mut client, &mut member).await;
            drop(in_flight);
            joined.map_err(BoxError::from)
        });
    }
    Ok(response.map(axum::body::Body::new))
}

#[tokio::test]
async fn a_websocket_is_in_flight_as_long_as_its_joiner_says_and_is_never_retried() {
    for keeps in [true, false] {
        within(async {
            let handshakes = Arc::new(AtomicUsize::new(0));
            let member = |route, address| Member::new(route, to(address).websockets());
            let balanced = StickyRoute::builder("chat")
                .member(member("one", echo_server(handshakes.clone()).await))
                .member(member("two", echo_server(handshakes.clone()).await))
                .cookie(RouteCookie::plain())
                .classify(Phase::of_hyper_util)
                .failover(Failover::default().retry_on_status([StatusCode::SWITCHING_PROTOCOLS]))
                .into_layer()
                .unwrap();
            let members = balanced.membership();
            let in_flight = || members.status().iter().map(|member| member.in_flight()).sum::<usize>();
            let pool = balanced.layer(http_client()).errors_to_502();
            let front = serve(move || {
                let pool = pool.clone();
                tower::service_fn(move |request| join(request, pool.clone(), keeps))
            })
            .await;

            let mut socket = TcpStream::connect(front).await.unwrap();
            let handshake = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            socket.write_all(handshake.as_bytes()).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
            assert!(
                head.windows(23).any(|bytes| bytes == b"set-cookie: chat-route="),
                "{}",
                head.escape_ascii()
            );
            let mut echo = [0; 5];
            socket.write_all(b"hello").await.unwrap();
            socket.read_exact(&mut echo).await.unwrap();
            assert_eq!(&echo, b"hello");
            assert_eq!(in_flight(), usize::from(keeps));
            assert_eq!(handshakes.load(Ordering::SeqCst), 1);
            drop(socket);
            all_idle(&members).await;
        })
        .await;
    }
}
