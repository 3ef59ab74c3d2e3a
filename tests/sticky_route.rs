//! A front end and its application servers, each over a socket of its own.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower::util::BoxCloneSyncService;
use tower_proxied::sticky_route::{
    Failover, Member, Phase, RequestBody, RouteCookie, RouteSuffixLayer, State, StickyRoute,
};

type Service = BoxCloneSyncService<Request<RequestBody<Incoming>>, Response<Incoming>, Error>;

/// An application server that tells its route, the cookies that it saw, and the body.
async fn application(route: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |headers: HeaderMap, body: String| async move {
        let cookies: Vec<_> = headers.get_all("cookie").iter().map(|line| line.to_str().unwrap()).collect();
        ([("set-cookie", "sessionid=s.1; HttpOnly")], format!("{route}|{}|{body}", cookies.join("; ")))
    };
    let router =
        Router::new().fallback_service(any(answer)).layer(RouteSuffixLayer::new("sessionid", route).unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// A port where nobody listens.
async fn dead() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn member(client: &Client<HttpConnector, RequestBody<Incoming>>, address: SocketAddr) -> Service {
    let to_member = move |mut request: Request<RequestBody<Incoming>>| {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("http://{address}{path}").parse::<Uri>().unwrap();
        request
    };
    BoxCloneSyncService::new(ServiceBuilder::new().map_request(to_member).service(client.clone()))
}

async fn front_end(sticky: StickyRoute<Service>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(sticky.clone());
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                builder.serve_connection(TokioIo::new(stream), service).await.unwrap();
            });
        }
    });
    address
}

async fn send(
    front: SocketAddr,
    method: &str,
    cookie: Option<&str>,
    body: &'static str,
) -> (Option<String>, String) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::builder().method(method).uri(format!("http://{front}/page"));
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    let response = client.request(request.body(Full::from(body)).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let pin = response
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|line| line.to_str().unwrap())
        .find(|line| line.starts_with("django-route="))
        .map(|line| line.split(';').next().unwrap().to_owned());
    (pin, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap())
}

#[tokio::test]
async fn clients_stay_with_their_member_until_it_dies() {
    tokio::time::timeout(Duration::from_secs(20), async {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let sticky = StickyRoute::builder("django")
            .member(Member::new("http-1", member(&client, application("http-1").await)))
            .member(Member::new("http-2", member(&client, application("http-2").await)))
            .cookie(RouteCookie::opaque([[42; 32]]))
            .classify(Phase::of_hyper_util)
            .failover(Failover::default().eject_after(1))
            .build()
            .unwrap();
        let members = sticky.membership();
        let front = front_end(sticky).await;

        let (pin, body) = send(front, "GET", None, "").await;
        let pin = pin.expect("a new client is pinned");
        let (route, _) = body.split_once('|').unwrap();
        for _ in 0..6 {
            let cookies = format!("sessionid=s~11.{route}; {pin}; x=1");
            let (again, body) = send(front, "GET", Some(&cookies), "").await;
            assert_eq!((again, body), (None, format!("{route}|sessionid=s.1; x=1|")));
        }

        // Its server dies, and a new client of this route cannot connect.
        members.insert(Member::new(route, member(&client, dead().await))).unwrap();
        let other = if route == "http-1" { "http-2" } else { "http-1" };
        let (new_pin, body) = send(front, "POST", Some(&pin), "form=1").await;
        assert_eq!(body, format!("{other}||form=1"));
        assert_ne!(new_pin.expect("the client is pinned to the member that answered"), pin);
        let status = members.status();
        let dead = status.iter().find(|member| member.route().as_str() == route).unwrap();
        assert_eq!(dead.state(), State::Ejected);
    })
    .await
    .expect("in time");
}

#[tokio::test]
async fn apache_reads_the_route_after_the_first_dot() {
    tokio::time::timeout(Duration::from_secs(20), async {
        let address = application("http-2").await;
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let request = Request::builder()
            .uri(format!("http://{address}/"))
            .header("cookie", "sessionid=a~1b~0.http-1")
            .body(Full::default())
            .unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(response.headers()["set-cookie"], "sessionid=s~11.http-2; HttpOnly");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "http-2|sessionid=a.b~|");
    })
    .await
    .expect("in time");
}
