//! What members over sockets do to requests, as hyper-util's client and tonic's Channel tell it.

use std::any::Any;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, Error, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};
use tower_proxied::front::{Target, UpstreamLayer};
use tower_proxied::sticky_route::{Decision, Failover, Member, Phase, RequestBody, RouteCookie, StickyRoute};
use tower_proxied::{Refusal, RefusalKind};

type Sent = RequestBody<Full<Bytes>>;

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// Tells what it got, over HTTP/1 or HTTP/2.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(|body: Bytes| async move { body });
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn dead() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Reads until the end of a body that ends with `.`, and then closes, or keeps silent.
async fn reads_all(closes: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut got = Vec::new();
                while !got.ends_with(b".") && stream.read_buf(&mut got).await.is_ok_and(|read| read > 0) {}
                counted.fetch_add(1, Ordering::SeqCst);
                if !closes {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (address, requests)
}

/// Resets each stream when its head came.
async fn resets(reason: h2::Reason) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_reset(reason);
                }
            });
        }
    });
    address
}

fn client(http2: bool) -> Client<HttpConnector, Sent> {
    Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

/// A pinned client has the first.
async fn send(
    addresses: [SocketAddr; 2],
    http2: bool,
    method: &str,
    body: &'static str,
    failover: Failover,
) -> (StatusCode, String, Option<RefusalKind>, Bytes) {
    let client = client(http2);
    let mut builder =
        StickyRoute::builder("shop").cookie(RouteCookie::plain()).classify(Phase::of_hyper_util);
    for (route, address) in ["a", "b"].into_iter().zip(addresses) {
        let target = Target::parse(&format!("http://{address}")).unwrap();
        let service = ServiceBuilder::new().layer(UpstreamLayer::new(target)).service(client.clone());
        builder = builder.member(Member::new(route, service));
    }
    let sticky = builder.failover(failover).build().unwrap();
    let members = sticky.membership();
    let request =
        Request::builder().method(method).uri("http://shop.example/").header("cookie", "shop-route=a");
    let request = request.body(Full::from(body)).unwrap();
    let Ok(response) = within(sticky.errors_to_502().oneshot(request)).await;
    let decision = response.extensions().get::<Decision>().unwrap().to_string();
    let refusal = response.extensions().get().map(Refusal::kind);
    let (head, body) = response.into_parts();
    let body = within(body.collect()).await.unwrap().to_bytes();
    assert!(members.status().iter().all(|member| member.in_flight() == 0));
    (head.status, decision, refusal, body)
}

const MOVED: &str = "route=b outcome=repinned attempts=2";

#[tokio::test]
async fn a_member_that_dies_with_the_whole_request() {
    for http2 in [false, true] {
        let other = echo().await;
        let replay = || Failover::default().replay(64 * 1024);
        if !http2 {
            for _ in 0..20 {
                let (dies, _) = reads_all(true).await;
                let (status, decision, _, body) =
                    send([dies, other], false, "PUT", "all of it.", replay()).await;
                assert_eq!(
                    (status, decision.as_str(), &body[..]),
                    (StatusCode::OK, MOVED, &b"all of it."[..])
                );
            }
            let (dies, requests) = reads_all(true).await;
            let (status, decision, ..) = send([dies, other], false, "POST", "all of it.", replay()).await;
            assert_eq!((status.as_u16(), decision.as_str()), (502, "route=a outcome=hit attempts=1"));
            assert_eq!(requests.load(Ordering::SeqCst), 1);
        }
        let (status, decision, _, body) =
            send([dead().await, other], http2, "POST", "all of it.", Failover::default()).await;
        assert_eq!((status, decision.as_str(), &body[..]), (StatusCode::OK, MOVED, &b"all of it."[..]));
    }
}

#[tokio::test]
async fn a_member_that_accepts_and_never_answers() {
    let failover = || Failover::default().head_timeout(Duration::from_millis(200)).replay(64 * 1024);
    let (silent, requests) = reads_all(false).await;
    let (status, decision, refusal, _) =
        send([silent, echo().await], false, "POST", "order.", failover()).await;
    assert_eq!((status.as_u16(), refusal), (504, Some(RefusalKind::MemberTimedOut)));
    assert_eq!(decision, "route=a outcome=hit attempts=1");
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    let (status, decision, _, body) = send([silent, echo().await], false, "PUT", "order.", failover()).await;
    assert_eq!((status, decision.as_str(), &body[..]), (StatusCode::OK, MOVED, &b"order."[..]));
}

#[tokio::test]
async fn streams_that_the_server_refused_were_not_processed() {
    let replay = || Failover::default().replay(64 * 1024);
    let other = echo().await;
    for (method, body) in [("POST", ""), ("POST", "order."), ("PUT", "page.")] {
        let refuses = resets(h2::Reason::REFUSED_STREAM).await;
        let (status, decision, _, got) = send([refuses, other], true, method, body, replay()).await;
        assert_eq!(
            (status, decision.as_str(), &got[..]),
            (StatusCode::OK, MOVED, body.as_bytes()),
            "{method}"
        );
    }
    for (method, expected) in [("POST", 502), ("PUT", 200)] {
        let fails = resets(h2::Reason::INTERNAL_ERROR).await;
        let (status, ..) = send([fails, other], true, method, "order.", replay()).await;
        assert_eq!(status.as_u16(), expected, "{method}");
    }
}

/// The server closes its connection while the next request is on its way to it: what counts as not sent never arrived.
#[tokio::test]
async fn what_hyper_canceled_never_arrived() {
    let mut canceled = 0;
    for _ in 0..1000 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            drop(listener);
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            stream.read(&mut [0]).is_ok_and(|read| read > 0)
        });
        let client: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
        let first = within(client.get(uri.parse().unwrap())).await.unwrap();
        drop(first);
        let second = client.request(Request::post(&uri).body(Full::from("order")).unwrap());
        let phase = Phase::of_hyper_util(&within(second).await.unwrap_err());
        drop(client);
        let has_arrived = tokio::task::spawn_blocking(move || server.join().unwrap());
        let has_arrived = within(has_arrived).await.unwrap();
        assert!(phase == Phase::Sent || !has_arrived, "{phase:?}");
        canceled += usize::from(phase == Phase::NotSent);
        if canceled == 3 {
            return;
        }
    }
    panic!("the case was not met");
}

#[tokio::test]
async fn errors_in_boxes_and_errors_of_others() {
    let client = client(false);
    let dead: http::Uri = format!("http://{}/", dead().await).parse().unwrap();
    let request = || Request::get(&dead);
    let error: Error = {
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        within(client.request(request().body(Full::default()).unwrap())).await.unwrap_err()
    };
    drop(client);
    assert_eq!(Phase::of_hyper_util(&error), Phase::Connect);
    let boxed: Box<dyn std::error::Error + Send + Sync> = error.into();
    assert_eq!(Phase::of_hyper_util(&boxed), Phase::Connect);
    let other: Box<dyn std::error::Error + Send + Sync> = "other".into();
    assert_eq!(Phase::of_hyper_util(&other), Phase::Sent);
    assert_eq!(Phase::of_hyper_util(&"other"), Phase::Sent);
    assert_eq!(Phase::of_tonic(&boxed), Phase::Sent, "it is not tonic's");
}

#[tokio::test]
async fn the_phases_of_a_channel_of_tonic() {
    use tonic::transport::{Channel, Endpoint};

    let phase = async |address: SocketAddr| {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let request = Request::post("/shop.Shop/Order").body(tonic::body::Body::empty()).unwrap();
        let error = within(channel.oneshot(request)).await;
        let error = error.map(|response: Response<_>| response.status()).unwrap_err();
        let phase = Phase::of_tonic(&error as &dyn Any);
        let boxed: Box<dyn std::error::Error + Send + Sync> = error.into();
        assert_eq!(Phase::of_tonic(&boxed as &dyn Any), phase);
        phase
    };
    assert_eq!(phase(dead().await).await, Phase::Connect);
    assert_eq!(phase(resets(h2::Reason::REFUSED_STREAM).await).await, Phase::NotSent);
    assert_eq!(phase(resets(h2::Reason::INTERNAL_ERROR).await).await, Phase::Sent);

    // Over a pool: http-1 is dead, and the call goes to the other one.
    let (listener, listening) = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    };
    let (_, health) = tonic_health::server::health_reporter();
    tokio::spawn(async move {
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming).await
    });
    let member = |route, address: SocketAddr| {
        let channel: Channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let channel = ServiceBuilder::new()
            .map_request(|request: Request<RequestBody<tonic::body::Body>>| {
                request.map(tonic::body::Body::new)
            })
            .service(channel);
        Member::new(route, channel)
    };
    let sticky = StickyRoute::builder("grpc")
        .cookie(RouteCookie::plain())
        .classify(Phase::of_tonic)
        .member(member("a", dead().await))
        .member(member("b", listening))
        .build()
        .unwrap();
    let pinned = ServiceBuilder::new()
        .map_request(|mut request: Request<tonic::body::Body>| {
            request.headers_mut().insert("cookie", "grpc-route=a".parse().unwrap());
            request
        })
        .service(sticky);
    let mut client = tonic_health::pb::health_client::HealthClient::new(pinned);
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    let answer = within(client.check(request)).await.unwrap();
    assert_eq!(answer.extensions().get::<Decision>().unwrap().to_string(), MOVED);
}
