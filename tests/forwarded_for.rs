//! ForwardedFor over real sockets: TCP and unix, through axum.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::{Extensions, HeaderMap};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_proxied::{ForwardedForLayer, PeerAddr, Proxied, TrustedProxies};

fn app(trusted: TrustedProxies) -> Router {
    async fn seen(headers: HeaderMap, extensions: Extensions) -> String {
        let proxied = extensions.get::<Proxied>().expect("ForwardedFor ran");
        let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().map(|line| line.as_bytes()).collect();
        let lines = String::from_utf8_lossy(&lines.join(&b'|')).into_owned();
        format!("{:?} {:?} [{lines}]", proxied.outcome(), proxied.client())
    }
    Router::new().route("/", get(seen)).layer(ForwardedForLayer::x_forwarded_for(trusted))
}

async fn exchange(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, lines: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

async fn serve_tcp(trusted: TrustedProxies) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app(trusted).into_make_service_with_connect_info::<PeerAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_from_the_right() {
    let address = serve_tcp(TrustedProxies::loopback()).await;
    let stream = TcpStream::connect(address).await.unwrap();
    // HAProxy's way: the client's own line stays first, the proxy's comes last.
    let answer = exchange(stream, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.5\r\n").await;
    assert!(answer.ends_with("Resolved Some(203.0.113.5) [203.0.113.5]"), "{answer}");
}

#[tokio::test]
async fn a_stranger_is_the_client() {
    let address = serve_tcp(TrustedProxies::parse(["10.0.0.0/8"]).unwrap()).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let answer = exchange(stream, "X-Forwarded-For: 6.6.6.6\r\n").await;
    assert!(answer.ends_with("Direct Some(127.0.0.1) []"), "{answer}");
}

#[tokio::test]
async fn garbage_at_the_attested_place_is_refused() {
    let address = serve_tcp(TrustedProxies::loopback()).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let answer = exchange(stream, "X-Forwarded-For: 203.0.113.5, localhost\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("client address malformed"), "{answer}");
    assert!(!answer.contains("203.0.113.5"), "a refusal never echoes input: {answer}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_a_peer_of_its_own_kind() {
    let path = std::env::temp_dir().join(format!("tower-proxied-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let service = app(TrustedProxies::unix()).into_make_service_with_connect_info::<PeerAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let answer = exchange(stream, "X-Forwarded-For: 203.0.113.5\r\n").await;
    std::fs::remove_file(&path).unwrap();
    assert!(answer.ends_with("Resolved Some(203.0.113.5) [203.0.113.5]"), "{answer}");
}
