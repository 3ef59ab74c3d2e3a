//! The front end's side when clients go, members fail, and layers refuse.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_proxied::body::ResponseBody;
use tower_proxied::errors_to_502::MemberError;
use tower_proxied::front::{Target, UpstreamLayer};
use tower_proxied::sticky_route::{
    Decision, Member, Membership, Outcome, Phase, RequestBody, RouteCookie, State, StickyRoute,
};
use tower_proxied::{ErrorsTo502Layer, Refusal, RefusalKind};

async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), test).await.expect("in time")
}

/// A member that sends these bytes when it got a head, and then reads until the connection ends.
async fn member(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                head(&mut socket).await;
                let _ = socket.write_all(answer).await;
                let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
            });
        }
    });
    address
}

async fn head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

type Service<B = Incoming, E = Error> =
    BoxCloneSyncService<Request<RequestBody<B>>, Response<ResponseBody<ResponseBody<B>>>, E>;

fn upstream(address: SocketAddr) -> Service {
    let client: Client<HttpConnector, RequestBody<Incoming>> =
        Client::builder(TokioExecutor::new()).build_http();
    let target: Target = format!("http://{address}").parse().unwrap();
    BoxCloneSyncService::new(ServiceBuilder::new().layer(UpstreamLayer::new(target)).service(client))
}

/// A front end over these members, and the handle of its pool.
async fn front_end(members: &[(&str, SocketAddr)]) -> (SocketAddr, Membership<Service>) {
    let builder =
        StickyRoute::builder("pool").cookie(RouteCookie::plain().name("R")).classify(Phase::of_hyper_util);
    let sticky = members
        .iter()
        .fold(builder, |builder, (route, address)| builder.member(Member::new(route, upstream(*address))))
        .build()
        .unwrap();
    let members = sticky.membership();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = ServiceBuilder::new().layer(ErrorsTo502Layer::new()).service(sticky.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ =
                    server.serve_connection(TokioIo::new(socket), TowerToHyperService::new(service)).await;
            });
        }
    });
    (address, members)
}

async fn ask(front: SocketAddr, request: &str) -> TcpStream {
    let mut socket = TcpStream::connect(front).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

async fn in_flight_becomes(members: &Membership<Service>, expected: usize) {
    within(async {
        while members.status().iter().map(|member| member.in_flight()).sum::<usize>() != expected {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";

#[tokio::test]
async fn a_client_that_goes_is_counted_out() {
    within(async {
        for (answer, request) in [
            // It waits for the head of the response.
            (&b""[..], "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            // It is in the midst of its upload.
            (&b""[..], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello"),
            (&b""[..], "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            // It is in the midst of the response.
            (STREAM, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ] {
            let (front, members) = front_end(&[("a", member(answer).await)]).await;
            let clients = [ask(front, request).await, ask(front, request).await];
            in_flight_becomes(&members, 2).await;
            drop(clients);
            in_flight_becomes(&members, 0).await;
            assert_eq!(members.status()[0].state(), State::Ok, "{request}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_response_under_way_outlives_its_member_in_the_pool() {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (front, members) = front_end(&[("a", listener.local_addr().unwrap())]).await;
        let mut client = ask(front, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let (mut socket, _) = listener.accept().await.unwrap();
        head(&mut socket).await;
        socket.write_all(STREAM).await.unwrap();
        let answer = head(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("set-cookie: R=a;"), "{answer}");
        members.drain("a", Duration::ZERO).unwrap();
        members.remove("a").unwrap();
        socket.write_all(b"world").await.unwrap();
        let mut body = String::new();
        client.read_to_string(&mut body).await.unwrap();
        assert_eq!(body, "helloworld");
        let mut late = ask(front, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(head(&mut late).await.starts_with("HTTP/1.1 503 "));
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_handed_on_is_a_502() {
    within(async {
        for answer in [
            &b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
            b"SSH-2.0\r\n\r\n",
        ] {
            let (front, members) = front_end(&[("a", member(answer).await)]).await;
            let mut client = ask(front, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let head = head(&mut client).await;
            assert!(head.starts_with("HTTP/1.1 502 ") && !head.contains("set-cookie"), "{head}");
            in_flight_becomes(&members, 0).await;
        }
    })
    .await;
}

/// A pool of members in this process, each behind [`UpstreamLayer`].
fn pool(fails: &'static str) -> StickyRoute<Service<Full<Bytes>, &'static str>> {
    ["a", "b", "c"]
        .into_iter()
        .fold(StickyRoute::builder("pool").cookie(RouteCookie::plain().name("R")), |builder, route| {
            let answer = move |_: Request<RequestBody<Full<Bytes>>>| async move {
                if fails.contains(route) { Err("refused") } else { Ok(Response::new(Full::default())) }
            };
            let target = Target::from_static("http://app");
            let upstream =
                ServiceBuilder::new().layer(UpstreamLayer::new(target)).service(service_fn(answer));
            builder.member(Member::new(route, BoxCloneSyncService::new(upstream)))
        })
        .classify(|_| Phase::Connect)
        .build()
        .unwrap()
}

fn request(cookie: &str, host: &str) -> Request<Full<Bytes>> {
    Request::builder().header("cookie", cookie).header("host", host).body(Full::default()).unwrap()
}

#[tokio::test]
async fn a_refusal_around_a_member_neither_pins_nor_speaks_for_the_member() {
    let sticky = pool("abc");
    let members = sticky.membership();
    for route in ["a", "b", "c"] {
        members.set_state(route, State::Ejected).unwrap();
    }
    let response = sticky.clone().oneshot(request("", "a@b")).await.unwrap();
    assert_eq!(response.extensions().get::<Refusal>().unwrap().kind(), RefusalKind::HostMalformed);
    assert!(!response.headers().contains_key("set-cookie"));
    assert!(members.status().iter().all(|member| member.state() == State::Ejected));
}

#[tokio::test]
async fn where_all_look_dead_a_pinned_client_gets_its_own_member() {
    for route in ["a", "b", "c"] {
        for _ in 0..5 {
            let sticky = pool("");
            let members = sticky.membership();
            for route in ["a", "b", "c"] {
                members.set_state(route, State::Ejected).unwrap();
            }
            let response = sticky.clone().oneshot(request(&format!("R={route}"), "a")).await.unwrap();
            let decision = response.extensions().get::<Decision>().unwrap();
            assert_eq!((decision.route().unwrap().as_str(), decision.outcome()), (route, Outcome::Hit));
        }
    }
    let sticky = pool("a");
    for route in ["a", "b", "c"] {
        sticky.membership().set_state(route, State::Ejected).unwrap();
    }
    let response = sticky.clone().oneshot(request("R=a", "a")).await.unwrap();
    let decision = response.extensions().get::<Decision>().unwrap();
    assert_eq!((decision.outcome(), decision.attempts()), (Outcome::Repinned, 2));
}

#[tokio::test]
async fn two_pools_with_one_cookie_name_and_two_paths_do_not_mix() {
    let pool = |path, route| {
        StickyRoute::builder("pool")
            .member(Member::new(
                route,
                service_fn(|request: Request<RequestBody<Full<Bytes>>>| async move {
                    let seen = request.headers().get_all("cookie").iter().cloned();
                    let response =
                        seen.fold(Response::builder(), |response, line| response.header("seen", line));
                    Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
                }),
            ))
            .cookie(RouteCookie::plain().name("R").path(path))
            .build()
            .unwrap()
    };
    for (sticky, path) in [(pool("/one", "x"), "/one/a"), (pool("/two", "y"), "/two/a")] {
        let asked = Request::builder()
            .uri(path)
            .header("cookie", "R=x; a=1; R=y")
            .header("cookie", &b"b=\xe9; R=\"z\""[..])
            .body(Full::default())
            .unwrap();
        let response = sticky.oneshot(asked).await.unwrap();
        let seen: Vec<&[u8]> =
            response.headers().get_all("seen").iter().map(|line| line.as_bytes()).collect();
        assert_eq!(response.extensions().get::<Decision>().unwrap().outcome(), Outcome::Hit);
        assert_eq!(seen, [&b"a=1"[..], b"b=\xe9"]);
    }
}

#[tokio::test]
async fn the_log_tells_why_a_member_was_not_reached() {
    within(async {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let target: Target = format!("http://{closed}").parse().unwrap();
        let service = ServiceBuilder::new()
            .layer(ErrorsTo502Layer::new())
            .layer(UpstreamLayer::new(target))
            .service(client);
        let Ok(response) = service.oneshot(request("", "a")).await;
        let error = response.extensions().get::<MemberError>().unwrap();
        assert!(error.as_str().contains("refused"), "{error}");
    })
    .await;
}
