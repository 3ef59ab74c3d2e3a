//! The front end of the examples, between clients and application servers over real sockets.

#[path = "../examples/support/front.rs"]
mod front;
#[path = "../examples/support/serve.rs"]
mod serve;
#[path = "../examples/support/tls.rs"]
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsConnector;
use tower_proxied::proxy_remote_user::Preset;
use tower_proxied::sticky_route::{Role, RouteCookie};
use tower_proxied::{Identity, Proof, ProxyRemoteUserLayer, Scheme, Secret, TrustedProxies};

use self::front::{FrontConfig, FrontMember};
use self::serve::{Error, Listener};

const SECRET: &str = "correct-horse-battery-staple";

async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), test).await.expect("in time")
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn member(route: &'static str, app: axum::Router) -> FrontMember {
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, app).await });
    FrontMember::new(route, format!("http://{address}").parse().unwrap())
}

/// Tells its route and what it was sent of the user.
fn teller(route: &'static str) -> axum::Router {
    axum::Router::new().fallback(move |headers: HeaderMap| async move {
        let line = |name| headers.get(name).map_or("none", |value| value.to_str().unwrap());
        format!(
            "{route} user={} secret={} authorization={} proto={}",
            line("remote-user"),
            line("x-secret"),
            line("authorization"),
            line("x-forwarded-proto")
        )
    })
}

fn config(members: Vec<FrontMember>) -> FrontConfig {
    let cookie = RouteCookie::plain().name("R");
    FrontConfig { members, cookie, basic_auth: None, secret: None, admin: None }
}

/// A front end with TLS and without; it stops when the sender goes.
struct Running {
    http: SocketAddr,
    https: SocketAddr,
    signed: tls::SelfSigned,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<Result<(), Error>>,
}

async fn run(config: FrontConfig) -> Running {
    let ((plain, http), (secure, https)) = (listen().await, listen().await);
    let signed = tls::SelfSigned::new(&["localhost"]).unwrap();
    let listeners = vec![Listener::http(plain), Listener::https(secure, signed.acceptor())];
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(front::serve(config, listeners, async {
        let _ = stopped.await;
    }));
    Running { http, https, signed, stop, served }
}

impl Running {
    /// One request over TLS by HTTP/2.
    async fn get(&self, headers: &[(&str, &str)]) -> (Response<()>, String) {
        let tls = TlsConnector::from(Arc::new(self.signed.client_config(&["h2"]).unwrap()));
        let socket = TcpStream::connect(self.https).await.unwrap();
        let socket = tls.connect("localhost".try_into().unwrap(), socket).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::get("https://localhost/").version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(parts, ()), String::from_utf8(body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn a_name_that_is_not_ascii_arrives() {
    within(async {
        let proof = Proof::peer(TrustedProxies::loopback());
        let layer = ProxyRemoteUserLayer::new(proof).preset(Preset::SetRemoteUser).build().unwrap();
        let app = axum::Router::new()
            .fallback(|Extension(identity): Extension<Identity>| async move { identity.to_string() })
            .layer(layer);
        let (listener, address) = listen().await;
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let member = FrontMember::new("http-1", format!("http://{address}").parse().unwrap());
        let mut config = config(vec![member]);
        config.basic_auth = Some("andré:wonderland".parse().unwrap());
        let front = run(config).await;
        let authorization = format!("Basic {}", BASE64_STANDARD.encode("andré:wonderland"));
        let (_, text) = front.get(&[("authorization", &authorization), ("remote-user", "admin")]).await;
        assert_eq!(text, "user \"andré\"");
    })
    .await;
}

#[tokio::test]
async fn headers_that_clash_and_users_who_cannot_be_told_are_found_at_the_start() {
    let mut clash = config(Vec::new());
    clash.members.push(member("http-1", axum::Router::new()).await);
    assert!(clash.check().is_ok());
    clash.secret = Some(("remote_user".parse().unwrap(), Secret::parse(SECRET).unwrap()));
    assert!(clash.check().unwrap_err().to_string().contains("\"remote_user\" has two roles"));
    clash.secret = None;
    clash.basic_auth = Some("a,b:wonderland".parse().unwrap());
    assert_eq!(clash.check().unwrap_err().to_string(), "the name cannot be written");
}

#[tokio::test]
async fn a_client_stays_with_its_member_over_tls_and_http_2() {
    within(async {
        let members =
            vec![member("http-1", teller("http-1")).await, member("http-2", teller("http-2")).await];
        let front = run(config(members)).await;
        let (first, text) = front.get(&[]).await;
        assert_eq!((first.status().as_u16(), first.version()), (200, Version::HTTP_2));
        let cookie = first.headers()[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.starts_with("R=http-") && cookie.ends_with("; Secure"), "{cookie}");
        let pin = cookie.split(';').next().unwrap();
        assert!(text.starts_with(&pin["R=".len()..]) && text.ends_with("proto=https"), "{text}");
        for route in ["http-1", "http-2"] {
            for _ in 0..3 {
                let (response, text) =
                    front.get(&[("cookie", "a=1"), ("cookie", &format!("R={route}"))]).await;
                assert!(text.starts_with(route), "{text}");
                assert!(!response.headers().contains_key(header::SET_COOKIE));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_password_makes_the_user_and_stays_here() {
    within(async {
        let mut config = config(vec![member("http-1", teller("http-1")).await]);
        config.basic_auth = Some("alice:wonderland".parse().unwrap());
        config.secret = Some((http::HeaderName::from_static("x-secret"), Secret::parse(SECRET).unwrap()));
        let front = run(config).await;
        // alice:wonderland, alice:wonderlanD, bob:wonderland
        let (right, wrong, other) = (
            "Basic YWxpY2U6d29uZGVybGFuZA==",
            "Basic YWxpY2U6d29uZGVybGFuRA==",
            "Basic Ym9iOndvbmRlcmxhbmQ=",
        );
        for lines in [
            &[][..],
            &[("authorization", wrong)],
            &[("authorization", other)],
            &[("authorization", right), ("authorization", right)],
            &[("remote-user", "alice")],
        ] {
            let (response, text) = front.get(lines).await;
            assert_eq!(response.status(), 401, "{lines:?}: {text}");
            assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
        }
        let spoofed = [("authorization", right), ("remote-user", "admin"), ("x_remote_user", "admin")];
        let (_, text) = front.get(&spoofed).await;
        assert_eq!(text, format!("http-1 user=alice secret={SECRET} authorization=none proto=https"));
    })
    .await;
}

#[tokio::test]
async fn the_user_drains_a_member() {
    within(async {
        let members =
            vec![member("http-1", teller("http-1")).await, member("http-2", teller("http-2")).await];
        let mut config = config(members);
        config.basic_auth = Some("alice:wonderland".parse().unwrap());
        config.admin = Some("/balancer".into());
        let front = run(config).await;
        let origin = format!("http://{}", front.http);
        let browser = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let send = async |request: http::request::Builder, body: String| {
            let request = request.header("authorization", "Basic YWxpY2U6d29uZGVybGFuZA==");
            let response = browser.request(request.body(Full::from(body)).unwrap()).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (parts, String::from_utf8(body.to_vec()).unwrap())
        };
        let page = format!("{origin}/balancer");
        let json = Request::get(&page).header("accept", "application/json");
        let (_, text) = send(json, String::new()).await;
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        let token = told["members"][0]["tokens"]["drain"].as_str().unwrap();
        let form = |origin: &str| {
            let form = Request::post(&page).header("content-type", "application/x-www-form-urlencoded");
            form.header("origin", origin)
        };
        let body = format!("m=http-1&action=drain&minutes=&token={token}");
        assert_eq!(send(form("http://evil.example"), body.clone()).await.0.status, 403);
        assert_eq!(send(form(&origin), body + &"0".repeat(5000)).await.0.status, 413);
        let body = format!("m=http-1&action=drain&minutes=&token={token}");
        let (head, _) = send(form(&origin), body).await;
        assert_eq!((head.status.as_u16(), head.headers["location"].to_str().unwrap()), (303, "?"));
        for _ in 0..8 {
            let (_, text) = send(Request::get(&origin), String::new()).await;
            assert!(text.starts_with("http-2 "), "{text}");
        }
        let (_, text) = send(Request::get(format!("{page}/")), String::new()).await;
        assert!(text.starts_with("http-2 user=alice"), "another path is the members': {text}");
    })
    .await;
}

#[tokio::test]
async fn without_a_password_everybody_is_nobody() {
    within(async {
        let front = run(config(vec![member("http-1", teller("http-1")).await])).await;
        let (_, text) = front.get(&[("remote-user", "admin")]).await;
        assert_eq!(text, "http-1 user=none secret=none authorization=none proto=https");
    })
    .await;
}

#[tokio::test]
async fn a_dead_member_loses_no_request_and_a_dead_pool_answers() {
    within(async {
        let (_, closed) = listen().await;
        let dead = |route| FrontMember::new(route, format!("http://{closed}").parse().unwrap());
        let front = run(config(vec![dead("http-1"), member("http-2", teller("http-2")).await])).await;
        for _ in 0..4 {
            let (response, text) = front.get(&[("cookie", "R=http-1")]).await;
            assert_eq!(response.status(), 200);
            assert!(text.starts_with("http-2"), "{text}");
        }
        let lines = front::unreachable(&[dead("http-1")]).await;
        assert!(matches!(&lines[..], [line] if line.contains("http-1")), "{lines:?}");
        let front = run(config(vec![dead("http-1")])).await;
        let (response, _) = front.get(&[]).await;
        assert!(matches!(response.status().as_u16(), 502 | 503), "{}", response.status());
    })
    .await;
}

/// Agrees to a WebSocket and sends back what comes, raw.
async fn echo_after_handshake(listener: TcpListener) {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(
        head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n"),
        "{head}"
    );
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    socket.write_all(agreed.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = socket.split();
    tokio::io::copy(&mut reader, &mut writer).await.unwrap();
}

#[tokio::test]
async fn a_websocket_goes_through() {
    within(async {
        let (listener, address) = listen().await;
        tokio::spawn(echo_after_handshake(listener));
        let members = vec![FrontMember::new("http-1", format!("http://{address}").parse().unwrap())];
        let front = run(config(members)).await;
        let mut socket = TcpStream::connect(front.http).await.unwrap();
        let handshake =
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
        socket.write_all(handshake.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
        let mut echo = [0; 5];
        socket.write_all(b"hello").await.unwrap();
        socket.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello");
    })
    .await;
}

#[tokio::test]
async fn stopping_waits_for_open_requests_and_takes_no_new_ones() {
    within(async {
        let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let app = axum::Router::new().fallback({
            let (arrived, go_on) = (arrived.clone(), go_on.clone());
            move || async move {
                arrived.notify_one();
                go_on.notified().await;
                "done"
            }
        });
        let front = run(config(vec![member("http-1", app).await])).await;
        let mut socket = TcpStream::connect(front.http).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        arrived.notified().await;
        drop(front.stop);
        while TcpStream::connect(front.http).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!front.served.is_finished());
        go_on.notify_one();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("done"), "{answer}");
        front.served.await.unwrap().unwrap();
    })
    .await;
}

#[test]
fn members_are_read_strictly() {
    let twice = |text: &str| text.parse::<FrontMember>().unwrap();
    let error = config(vec![twice("a=http://x"), twice("a=http://y")]).check().unwrap_err();
    assert!(error.to_string().contains("\"a\""), "{error}");
    let member: FrontMember = "spare=http://App:8003/,weight=3,standby".parse().unwrap();
    assert_eq!((member.route.as_str(), member.weight, member.role), ("spare", 3, Role::Standby));
    assert_eq!((member.target.to_string(), member.target.scheme()), ("http://app:8003".into(), Scheme::Http));
    for (text, item) in [
        ("http-1", "ROUTE=URL"),
        ("a=ftp://x", "\"ftp://x\""),
        ("a=https://x", "\"https://x\""),
        ("a=http://x,weight=many", "\"many\""),
        ("a=http://x,heavy", "\"heavy\""),
    ] {
        let error = text.parse::<FrontMember>().unwrap_err();
        assert!(error.contains(item), "{error}");
    }
}
