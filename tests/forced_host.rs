//! ForcedHost behind ForwardedFor, in an axum server on a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::{any, get};
use http::Method;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;
use tower_proxied::forced_host::{
    AllowedHosts, AllowedHostsError, ForcedHostLayer, PublicUrlError, Site, Sites,
};
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::{ForwardedForLayer, PathPrefix, PathPrefixError, PublicUrl, TrustedProxies};

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
            ("OPTIONS * HTTP/1.1\nHost: evil.example", 421, "host not allowed"),
            ("CONNECT example.com:443 HTTP/1.1\nHost: evil.example", 200, ""),
            ("CONNECT evil.example:443 HTTP/1.1\nHost: example.com", 421, "host not allowed"),
            ("GET /reset HTTP/1.1\nHost: example.com\nHost: example.com", 400, "host duplicate"),
            ("GET http://example.com/reset HTTP/1.1\nHost: example.com\nHost: example.com", 400, "host duplicate"),
            ("GET http://example.com/reset HTTP/1.1\nHost: a.example.org", 200, "http://example.com/reset/abc"),
            ("GET http://example.com/reset HTTP/1.1\nHost: a/b", 400, "host malformed"),
            ("GET http://example.com:8443/reset HTTP/1.1\nHost: example.com", 421, "host not allowed"),
            ("GET http://example.com/reset HTTP/1.0\nAccept: */*", 200, "http://example.com/reset/abc"),
            ("GET /reset HTTP/1.1\nHost:", 400, "host missing"),
            ("GET /reset HTTP/1.1\nHost: b\u{fc}cher.example.org", 400, "host malformed"),
            ("GET /reset HTTP/1.1\nHost: xn--bcher-kva.example.org", 200, "http://xn--bcher-kva.example.org/reset/abc"),
            ("GET /reset HTTP/1.1\nHost: example.com:443", 200, "http://example.com/reset/abc"),
            ("GET /reset HTTP/1.1\nHost: example.com:8443", 421, "host not allowed"),
            ("GET /reset HTTP/1.1\nHost: example.com, example.com", 400, "host malformed"),
            ("GET /reset HTTP/1.1\nHost: 127.1", 400, "host malformed"),
            ("GET /reset HTTP/1.1\nHost: 127.0.0.1", 421, "host not allowed"),
            ("GET /reset HTTP/1.1\nHost: example.com\nX-Forwarded-Host: a.example.org\nX-Forwarded-Host: example.com", 400, "duplicate field"),
            ("GET /reset HTTP/1.1\nHost: example.com\nX-Forwarded-Host: a.example.org/x", 400, "forwarding header malformed"),
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
        for (target, hosts, status, body) in [
            ("https://example.com/reset", &[][..], 200, "http://example.com/reset/abc"),
            ("https://example.com/reset", &["Example.com:443"], 200, "http://example.com/reset/abc"),
            ("https://example.com/reset", &["a.example.org"], 400, "host mismatch"),
            ("https://evil.example/reset", &[], 421, "host not allowed"),
            ("https://evil.example/reset", &["example.com"], 400, "host mismatch"),
            ("https://example.com/reset", &["example.com", "example.com"], 400, "host duplicate"),
            ("https://example.com/reset", &["example.com", "evil.example"], 400, "host duplicate"),
            ("https://example.com/reset", &["example.com@evil.example"], 400, "host malformed"),
            ("https://example.com:8443/reset", &[], 421, "host not allowed"),
            ("http://example.com:443/reset", &["example.com"], 200, "http://example.com/reset/abc"),
            ("https://example.com//evil.example/x", &[], 200, "http://example.com//evil.example/x"),
        ] {
            let mut request = http::Request::get(target);
            for host in hosts {
                request = request.header("host", *host);
            }
            let response = client.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{target} {hosts:?}");
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert!(text.starts_with(body.as_bytes()), "{target} {hosts:?} {text:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn http2_without_a_path() {
    in_time(async {
        let address = serve().await;
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        for (method, authority, status) in [
            (Method::OPTIONS, "example.com", 200),
            (Method::OPTIONS, "evil.example", 421),
            (Method::CONNECT, "example.com:443", 200),
            (Method::CONNECT, "evil.example:443", 421),
        ] {
            let mut uri = http::uri::Parts::default();
            uri.authority = Some(authority.parse().unwrap());
            if method == Method::OPTIONS {
                uri.scheme = Some(http::uri::Scheme::HTTPS);
                uri.path_and_query = Some("*".parse().unwrap());
            }
            let mut request = http::Request::new(Empty::<Bytes>::new());
            *request.method_mut() = method.clone();
            *request.uri_mut() = http::Uri::from_parts(uri).unwrap();
            let response = client.send_request(request).await.unwrap();
            assert_eq!(response.status(), status, "{method} {authority}");
            if method == Method::OPTIONS && status == 200 {
                let text = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(text, "http://example.com");
            }
        }
    })
    .await;
}

/// What an operator may write by mistake, and would lead browsers elsewhere.
#[test]
fn what_leads_elsewhere_is_refused_at_configuration() {
    type Refuse = fn(&str) -> Result<(), (String, String)>;
    let public: Refuse = |text| {
        let refused = |error: PublicUrlError| (error.text().to_owned(), error.to_string());
        PublicUrl::parse(text).map(drop).map_err(refused)
    };
    let prefix: Refuse = |text| {
        let refused = |error: PathPrefixError| (error.text().to_owned(), error.to_string());
        PathPrefix::parse(text).map(drop).map_err(refused)
    };
    let hosts: Refuse = |text| {
        let refused = |error: AllowedHostsError| (error.item().to_owned(), error.to_string());
        AllowedHosts::parse(["example.com", text]).map(drop).map_err(refused)
    };
    for (refuse, items) in [
        (
            public,
            &[
                "",
                "example.com",
                "//example.com",
                "///evil.example",
                "https:evil.example",
                "https:/evil.example",
                "https:///evil.example",
                "https://",
                "https:\\\\evil.example",
                "https://example.com\\@evil.example",
                "https://example.com\\.evil.example",
                "javascript://example.com/%0aalert(1)",
                "data:text/html,x",
                "ftp://example.com",
                "wss://example.com",
                "https://example.com,evil.example",
                "https://example.com:443:80",
                "https://example.com:",
                "https://example.com:0",
                "https://example.com:65536",
                "https://[::1",
                "https://[::1].evil.example",
                "https://[::1%25eth0]",
                "https://127.1",
                "https://0x7f.1",
                "https://2130706433",
                "https://%65vil.example",
                "https://a..b",
                "https://*.example.com",
                "https://evil.example%2f.example.com",
                "https://example.com?evil.example",
                "https://example.com#evil.example",
                "https://example.com//evil.example",
                "https://example.com/\\evil.example",
                "https://example.com/a/../..//evil.example",
                "https://example.com/%2e%2e/x",
                "https://example.com/a%2f..%2fb",
                "https://example.com/a b",
                "https://example.com/\"><script>",
                " https://example.com",
                "https://example.com\r\nX: y",
                "https://exa\tmple.com",
                "https://example.com/\u{202e}x",
            ][..],
        ),
        (
            prefix,
            &[
                "webapps",
                "//",
                "//evil.example",
                "///evil.example",
                "/\\evil.example",
                "\\evil.example",
                "https://evil.example/",
                "/%2f%2fevil.example",
                "/%5cevil.example",
                "/..",
                "/%2e%2e",
                "/a/./b",
                "/a//b",
                "/\t/evil.example",
                "/a\r\nLocation: //evil.example",
                "/\"><script>",
                "/a?b",
                "/a#b",
                "/a;Path=/",
                "/é",
            ],
        ),
        (
            hosts,
            &[
                "",
                "*",
                ".",
                "*.",
                "*.*.com",
                "exam*ple.com",
                "example.com/",
                "https://example.com",
                "example.com@evil.example",
                "example.com,evil.example",
                "example.com:*",
                "example.com:0",
                "example.com:",
                "127.1",
                "0x7f.0.0.1",
                "::1",
                "[::1",
                ".192.0.2.1",
                "*.[::1]",
                "%65vil.example",
                "a..b",
                "e vil.example",
            ],
        ),
    ] {
        for item in items {
            let (named, error) = refuse(item).expect_err(item);
            let expected = match item.rsplit_once('@') {
                Some((_, host)) if item.contains("://") => format!("https://...@{host}"),
                _ => (*item).to_owned(),
            };
            assert_eq!(named, expected);
            assert!(error.contains(&format!("{expected:?}")), "{error}");
        }
    }
    for (sites, named) in [
        (vec![], ""),
        (vec![("shop", "https://a.example"), ("shop", "https://b.example")], "shop"),
        (vec![("shop", "https://a.example/x"), ("blog", "http://A.example.:80/y")], "blog"),
    ] {
        let sites = sites.into_iter().map(|(name, public)| Site::new(name, PublicUrl::from_static(public)));
        assert_eq!(Sites::new(sites).unwrap_err().name(), named);
    }
}
