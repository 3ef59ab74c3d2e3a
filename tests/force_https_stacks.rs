//! `ForceHttpsBody` among the layers of tower-http, with real encoders and real files.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::DecompressionLayer;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::{ForceHttpsBodyLayer, ForwardedForLayer, PeerAddr, TrustedProxies};

/// Long enough that tower-http compresses it.
const PAGE: &str =
    r#"<!doctype html><title>A page</title><p>Some text, and then a picture:<img src="http://h:80/x">"#;
const UPGRADED: &str =
    r#"<!doctype html><title>A page</title><p>Some text, and then a picture:<img src="https://h/x">"#;

fn secure() -> ForceHttpsBodyLayer {
    ForceHttpsBodyLayer::new().secure_when(|_| true)
}

fn pages() -> Router {
    let page = || async {
        Response::builder()
            .header(header::CONTENT_TYPE, "text/html")
            .header(header::ETAG, "\"v1\"")
            .body(Body::from(PAGE))
            .unwrap()
    };
    Router::new().route("/", get(page))
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

async fn ask<S, R>(service: S, lines: &[(&str, &str)]) -> Answer
where
    S: Service<Request<Body>, Response = Response<R>, Error: std::fmt::Debug>,
    R: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    ask_for(service, "GET", "/", lines).await
}

async fn ask_for<S, R>(service: S, method: &str, path: &str, lines: &[(&str, &str)]) -> Answer
where
    S: Service<Request<Body>, Response = Response<R>, Error: std::fmt::Debug>,
    R: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let response = service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// What the encoded body says.
async fn decoded(answer: Answer) -> Answer {
    let Answer { status, headers, body } = answer;
    let mut response = Response::new(Body::from(body));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    let mut response = Some(response);
    let service = DecompressionLayer::new().layer(tower::service_fn(move |_: Request<Body>| {
        std::future::ready(Ok::<_, Infallible>(response.take().unwrap()))
    }));
    ask(service, &[]).await
}

#[tokio::test]
async fn compression_outside_encodes_what_was_rewritten() {
    for coding in ["gzip", "br"] {
        let stack = ServiceBuilder::new().layer(CompressionLayer::new()).layer(secure()).service(pages());
        let answer = ask(stack, &[("accept-encoding", coding)]).await;
        assert_eq!(answer.field("content-encoding"), Some(coding));
        assert_eq!(answer.field("content-length"), None);
        assert_eq!(answer.field("etag"), Some("W/\"v1\""));
        assert_ne!(answer.body, UPGRADED);
        assert_eq!(decoded(answer).await.text(), UPGRADED, "{coding}");
    }
}

#[tokio::test]
async fn compression_inside_passes_untouched() {
    for coding in ["gzip", "br"] {
        let lines = [("accept-encoding", coding)];
        let without =
            ask(ServiceBuilder::new().layer(CompressionLayer::new()).service(pages()), &lines).await;
        let stack = ServiceBuilder::new().layer(secure()).layer(CompressionLayer::new()).service(pages());
        let answer = ask(stack, &lines).await;
        assert_eq!((answer.headers, answer.body), (without.headers, without.body));
    }
}

#[tokio::test]
async fn decompression_between_reads_an_encoded_application() {
    for coding in ["gzip", "br"] {
        let stack = ServiceBuilder::new()
            .layer(secure())
            .layer(DecompressionLayer::new())
            .layer(CompressionLayer::new())
            .service(pages());
        let answer = ask(stack, &[("accept-encoding", coding)]).await;
        assert_eq!(answer.field("content-encoding"), None);
        assert_eq!(answer.field("etag"), Some("W/\"v1\""));
        assert_eq!(answer.text(), UPGRADED, "{coding}");
    }
}

#[tokio::test]
async fn an_application_that_encodes_is_asked_for_plain_text() {
    let stack = || {
        ServiceBuilder::new()
            .layer(CompressionLayer::new())
            .layer(secure().request_identity())
            .layer(CompressionLayer::new())
            .service(pages())
    };
    let answer = ask(stack(), &[("accept-encoding", "br")]).await;
    assert_eq!(answer.field("content-encoding"), Some("br"));
    assert_eq!(decoded(answer).await.text(), UPGRADED);
    // A client that takes no plain text gets what the application makes of that.
    let answer = ask(stack(), &[("accept-encoding", "gzip, identity;q=0")]).await;
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    assert_eq!(decoded(answer).await.text(), PAGE);
    // Nor is a plain request asked for anything else than it asked for.
    let plain = ForceHttpsBodyLayer::new().secure_when(|_| false).request_identity();
    let stack = ServiceBuilder::new().layer(plain).layer(CompressionLayer::new()).service(pages());
    let answer = ask(stack, &[("accept-encoding", "gzip")]).await;
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
}

#[tokio::test]
async fn headers_that_other_layers_set() {
    let set = |name, value| {
        SetResponseHeaderLayer::overriding(
            http::HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    let csp = ("content-security-policy", "img-src *");
    let inside = ServiceBuilder::new()
        .layer(secure().upgrade_insecure_requests())
        .layer(set(csp.0, csp.1))
        .layer(set("repr-digest", "sha-256=:AA==:"))
        .service(pages());
    let answer = ask(inside, &[]).await;
    let policies: Vec<_> = answer.headers.get_all(csp.0).iter().collect();
    assert_eq!(policies, [csp.1, "upgrade-insecure-requests"]);
    assert_eq!((answer.field("repr-digest"), answer.text()), (None, UPGRADED));
    // One that is set further in decides what may be changed; further out it comes too late.
    let no_transform = || set("cache-control", "no-transform");
    let stack = ServiceBuilder::new().layer(secure()).layer(no_transform()).service(pages());
    assert_eq!(ask(stack, &[]).await.text(), PAGE);
    let stack = ServiceBuilder::new().layer(no_transform()).layer(secure()).service(pages());
    assert_eq!(ask(stack, &[]).await.text(), UPGRADED);
}

#[tokio::test]
async fn as_a_layer_of_a_router() {
    let answer = ask(pages().layer(secure()), &[]).await;
    assert_eq!(answer.field("content-length"), Some(UPGRADED.len().to_string().as_str()));
    assert_eq!(answer.text(), UPGRADED);
    let head = ask_for(pages().layer(secure()), "HEAD", "/", &[]).await;
    assert_eq!((head.field("content-length"), head.field("etag")), (None, Some("W/\"v1\"")));
    assert_eq!(ask_for(pages().layer(secure()), "GET", "/none", &[]).await.status, 404);
}

/// A response with these lines, behind a proxy that says which scheme it was asked by.
async fn behind_proxy(
    layer: ForceHttpsBodyLayer,
    scheme: &str,
    asked: &[(&str, &str)],
    (status, lines): (u16, &[(&'static str, &'static str)]),
) -> Answer {
    let proxy = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback())
        .claims(Claims::none().scheme(Written::Set));
    let peer = PeerAddr::layer(SocketAddr::from(([127, 0, 0, 1], 4711)));
    let stack = ServiceBuilder::new().layer(peer).layer(proxy).layer(layer).service_fn(|_: Request<Body>| {
        let mut response = Response::builder().status(status);
        for (name, value) in lines {
            response = response.header(*name, *value);
        }
        std::future::ready(Ok::<_, Infallible>(response.body(Body::from("<img src=/x>")).unwrap()))
    });
    let forwarded = [("x-forwarded-for", "203.0.113.5"), ("x-forwarded-proto", scheme)];
    ask(stack, &[asked, &forwarded].concat()).await
}

#[tokio::test]
async fn what_differs_by_scheme_says_so() {
    const HTML: (&str, &str) = ("content-type", "text/html");
    const GZIP: (&str, &str) = ("content-encoding", "gzip");
    let bare = ForceHttpsBodyLayer::new;
    for (layer, response, varies) in [
        (bare(), (200, &[HTML][..]), [true, false]),
        (bare(), (200, &[HTML, GZIP]), [false, false]),
        (bare().request_identity(), (200, &[HTML, GZIP]), [true, false]),
        (bare().upgrade_insecure_requests(), (200, &[HTML]), [true, true]),
        (bare().upgrade_insecure_requests(), (200, &[HTML, GZIP]), [true, true]),
        (bare().upgrade_insecure_requests(), (200, &[("content-type", "image/png")]), [false, false]),
        (bare().upgrade_insecure_requests(), (304, &[]), [false, false]),
        (bare(), (304, &[HTML]), [true, true]),
        (bare(), (206, &[HTML]), [true, true]),
        (bare().rewrite_when(|page| page.status == 201), (200, &[HTML]), [false, false]),
        (bare().rewrite_when(|page| page.status == 200), (206, &[HTML]), [false, false]),
        (bare().report_only(), (200, &[HTML]), [false, false]),
        (bare(), (200, &[HTML, ("link", "<http://h/>; rel=preload")]), [true, true]),
        (bare(), (304, &[("link", "<http://h/>; rel=preload")]), [false, true]),
        (
            bare(),
            (304, &[("cache-control", "no-transform"), ("link", "<http://h/>; rel=icon")]),
            [false, false],
        ),
    ] {
        for (scheme, varies) in ["http", "https"].into_iter().zip(varies) {
            let answer = behind_proxy(layer.clone(), scheme, &[], response).await;
            let expected = varies.then_some("x-forwarded-proto");
            assert_eq!(answer.field("vary"), expected, "{scheme} {response:?} {layer:?}");
            assert_eq!(answer.body, "<img src=/x>");
        }
    }
}

#[tokio::test]
async fn a_304_names_what_the_client_holds() {
    let lines = [("etag", "\"a\""), ("accept-ranges", "bytes"), ("content-length", "12")];
    for (held, tag, says_all) in
        [("W/\"a\"", "W/\"a\"", false), ("\"a\"", "\"a\"", true), ("\"b\"", "\"a\"", false)]
    {
        let asked = [("if-none-match", held)];
        let answer = behind_proxy(ForceHttpsBodyLayer::new(), "https", &asked, (304, &lines)).await;
        assert_eq!(answer.field("etag"), Some(tag), "{held}");
        assert_eq!(answer.field("accept-ranges").is_some(), says_all, "{held}");
        assert_eq!(answer.field("content-length").is_some(), says_all, "{held}");
        let plain = behind_proxy(ForceHttpsBodyLayer::new(), "http", &asked, (304, &lines)).await;
        assert_eq!(plain.headers.len(), 3);
    }
}

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn files() {
    let folder = Folder::new("files");
    folder.write("page.html", PAGE.as_bytes());
    folder.write("clean.html", b"<img src=/x>");
    folder.write("picture.svg", b"<svg><image href='http://h/'/></svg>");
    let bare = || ServeDir::new(&folder.0);
    let files = || ServiceBuilder::new().layer(secure()).service(bare());

    let was = ask_for(bare(), "GET", "/page.html", &[]).await;
    let tag = was.field("etag").unwrap();
    let date = was.field("last-modified").unwrap();
    let page = ask_for(files(), "GET", "/page.html", &[]).await;
    assert_eq!((page.status.as_u16(), page.text()), (200, UPGRADED));
    let weak = format!("W/{tag}");
    assert_eq!(page.field("etag"), Some(weak.as_str()));
    assert_eq!(page.field("last-modified"), Some(date));
    assert_eq!(page.field("accept-ranges"), None);
    assert!(page.field("content-length").is_none_or(|len| len == UPGRADED.len().to_string()));

    let head = ask_for(files(), "HEAD", "/page.html", &[]).await;
    assert_eq!((head.field("content-length"), head.field("etag")), (None, Some(weak.as_str())));

    let held = ask_for(files(), "GET", "/page.html", &[("if-none-match", &weak)]).await;
    assert_eq!((held.status.as_u16(), held.field("etag")), (304, Some(weak.as_str())));
    let held = ask_for(files(), "GET", "/page.html", &[("if-modified-since", date)]).await;
    assert_eq!(held.status, 304);

    // ServeDir does not read If-Range: a date or a weak tag must not get a part.
    let range = ("range", "bytes=5-");
    for if_range in [date, weak.as_str()] {
        let lines = [range, ("if-range", if_range)];
        assert_eq!(ask_for(bare(), "GET", "/page.html", &lines).await.status, 206);
        let whole = ask_for(files(), "GET", "/page.html", &lines).await;
        assert_eq!((whole.status.as_u16(), whole.text()), (200, UPGRADED), "{if_range}");
    }
    let part = ask_for(files(), "GET", "/page.html", &[range, ("if-range", tag)]).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, &PAGE[5..]));
    assert_eq!((part.field("etag"), part.field("cache-control")), (Some(tag), Some("no-store")));

    for name in ["/picture.svg", "/none"] {
        let lines = [range];
        let (was, is) =
            (ask_for(bare(), "GET", name, &lines).await, ask_for(files(), "GET", name, &lines).await);
        assert_eq!((is.status, is.headers, is.body), (was.status, was.headers, was.body), "{name}");
    }
}

#[tokio::test]
async fn files_that_were_encoded_before() {
    let folder = Folder::new("encoded");
    folder.write("page.html", PAGE.as_bytes());
    let gzip = ServiceBuilder::new().layer(CompressionLayer::new()).service(pages());
    folder.write("page.html.gz", &ask(gzip, &[("accept-encoding", "gzip")]).await.body);
    let files =
        |layer| ServiceBuilder::new().layer(layer).service(ServeDir::new(&folder.0).precompressed_gzip());
    let lines = [("accept-encoding", "gzip")];
    let encoded = ask_for(files(secure()), "GET", "/page.html", &lines).await;
    assert_eq!(encoded.field("content-encoding"), Some("gzip"));
    assert_eq!(decoded(encoded).await.text(), PAGE);
    let plain = ask_for(files(secure().request_identity()), "GET", "/page.html", &lines).await;
    assert_eq!((plain.field("content-encoding"), plain.text()), (None, UPGRADED));
}
