use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt};

use super::*;
use crate::forwarded_for::Outcome;
use crate::wire::host::Scheme;

const PAGE: &str = "<img src=http://h/>";

fn request(lines: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::builder().uri("/healthz");
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// The response to a page with these lines in its head, and the request as the application saw it.
async fn serve(
    layer: ForceHttpsBodyLayer,
    request: Request<()>,
    lines: &[(&'static str, &'static str)],
) -> (response::Parts, Bytes, Option<Request<()>>) {
    let mut seen = None;
    let service = ServiceBuilder::new().layer(layer).service_fn(|request: Request<()>| {
        seen = Some(request);
        let mut response = Response::builder().header("content-type", "text/html");
        for (name, value) in lines {
            response = response.header(*name, *value);
        }
        std::future::ready(Ok::<_, Infallible>(response.body(Full::<Bytes>::from(PAGE)).unwrap()))
    });
    let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
    (parts, body.collect().await.unwrap().to_bytes(), seen)
}

fn secure() -> ForceHttpsBodyLayer {
    ForceHttpsBodyLayer::new().secure_when(|_| true)
}

#[tokio::test]
async fn nobody_says_whether_it_is_secure() {
    let (parts, _, seen) = serve(ForceHttpsBodyLayer::new(), request(&[]), &[]).await;
    assert_eq!(parts.status, 500);
    assert_eq!(parts.extensions.get::<Refusal>().unwrap().kind(), RefusalKind::ProxiedMissing);
    assert!(seen.is_none());
    for layer in [ForceHttpsBodyLayer::new().exempt_path("/healthz"), ForceHttpsBodyLayer::disabled()] {
        let (parts, body, _) = serve(layer, request(&[("x-forwarded-proto", "https")]), &[]).await;
        assert_eq!((parts.status, &body[..]), (StatusCode::OK, PAGE.as_bytes()));
    }
}

#[tokio::test]
async fn proxied_goes_before_the_function() {
    let mut plain = request(&[]);
    plain.extensions_mut().insert(Proxied::new(Outcome::Direct, Scheme::Http));
    assert_eq!(serve(secure(), plain, &[]).await.1, PAGE);
    let mut tls = request(&[]);
    tls.extensions_mut().insert(Proxied::new(Outcome::Direct, Scheme::Https));
    assert_eq!(serve(ForceHttpsBodyLayer::new(), tls, &[]).await.1, "<img src=https://h/>");
}

#[tokio::test]
async fn the_own_host_is_that_of_the_public_url() {
    let ask = |public: Option<&str>| {
        let mut request = request(&[]);
        request.extensions_mut().insert(Proxied::new(Outcome::Direct, Scheme::Https));
        if let Some(public) = public {
            request.extensions_mut().insert(PublicUrl::parse(public).unwrap());
        }
        request
    };
    let layer = || ForceHttpsBodyLayer::new().hosts(Hosts::same());
    assert_eq!(serve(layer(), ask(Some("https://h/app")), &[]).await.1, "<img src=https://h/>");
    assert_eq!(serve(layer(), ask(Some("https://other")), &[]).await.1, PAGE);
    assert_eq!(serve(layer(), ask(None), &[]).await.1, PAGE);
}

#[tokio::test]
async fn ranges_of_two_versions_are_not_put_together() {
    let range = ("range", "bytes=5-");
    for (if_range, is_kept) in [("Tue, 01 Jan 2030 00:00:00 GMT", false), ("W/\"a\"", false), ("\"a\"", true)]
    {
        let request = request(&[range, ("if-range", if_range)]);
        let seen = serve(secure(), request, &[]).await.2.unwrap();
        assert_eq!(seen.headers().contains_key(RANGE), is_kept, "{if_range}");
        assert_eq!(seen.headers().contains_key(IF_RANGE), is_kept, "{if_range}");
    }
    let alone = serve(secure(), request(&[range]), &[]).await.2.unwrap();
    assert!(alone.headers().contains_key(RANGE));
}

#[tokio::test]
async fn a_report_changes_nothing() {
    let lines = [("etag", "\"a\""), ("link", "<http://h/>; rel=preload"), ("content-length", "19")];
    let layer = secure().upgrade_insecure_requests().report_only();
    let (parts, body, _) = serve(layer, request(&[]), &lines).await;
    assert_eq!(body, PAGE);
    for (name, value) in lines {
        assert_eq!(parts.headers[name], value);
    }
    assert_eq!(parts.headers.len(), 4);
}

#[tokio::test]
async fn the_head_follows_the_page() {
    let lines = [("link", "<http://h/>; rel=preload"), ("content-length", "19"), ("accept-ranges", "bytes")];
    let (parts, body, _) = serve(secure().upgrade_insecure_requests(), request(&[]), &lines).await;
    assert_eq!(body, "<img src=https://h/>");
    assert_eq!(parts.headers["link"], "<https://h/>; rel=preload");
    assert_eq!(parts.headers["content-length"], "20");
    assert_eq!(parts.headers["content-security-policy"], "upgrade-insecure-requests");
    assert!(!parts.headers.contains_key("accept-ranges"));
}

#[tokio::test]
async fn the_same_layer_twice() {
    let lines = [
        ("etag", "\"a\""),
        ("link", "<http://h/>; rel=preload"),
        ("content-length", "19"),
        ("vary", "accept"),
    ];
    for method in [Method::GET, Method::HEAD] {
        let secure = secure().upgrade_insecure_requests().request_identity();
        let ask = || {
            let mut request = request(&[]);
            *request.method_mut() = method.clone();
            request.extensions_mut().insert(Proxied::new(Outcome::Direct, Scheme::Https));
            request
        };
        let once = serve(secure.clone(), ask(), &lines).await;
        let service = ServiceBuilder::new().layer(secure.clone()).layer(secure).service_fn(
            |_: Request<()>| async move {
                let mut response = Response::builder().header("content-type", "text/html");
                for (name, value) in lines {
                    response = response.header(name, value);
                }
                Ok::<_, Infallible>(response.body(Full::<Bytes>::from(PAGE)).unwrap())
            },
        );
        let (parts, body) = service.oneshot(ask()).await.unwrap().into_parts();
        assert_eq!(parts.headers, once.0.headers, "{method}");
        assert_eq!(body.collect().await.unwrap().to_bytes(), once.1, "{method}");
    }
}

#[tokio::test]
async fn no_transform_wherever_it_stands() {
    for lines in [
        &[("cache-control", "a=\"b, no-transform")][..],
        &[("cache-control", "public"), ("cache-control", "\tNO-TRANSFORM=1")],
        &[("cache-control", ",,no-transform ,")],
    ] {
        assert_eq!(serve(secure(), request(&[]), lines).await.1, PAGE, "{lines:?}");
    }
}

#[tokio::test]
async fn a_content_length_that_lies() {
    for len in ["0", "18", "99999999999999999999", "x"] {
        let (parts, body, _) = serve(secure(), request(&[]), &[("content-length", len)]).await;
        assert_eq!((parts.headers["content-length"].as_bytes(), body.len()), (&b"20"[..], 20));
    }
}

/// It has no bytes, and may say so in one way or the other.
struct Empty {
    is_ended: bool,
    size: SizeHint,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Empty {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

#[tokio::test]
async fn an_empty_page_keeps_its_head_but_for_its_links() {
    let digest = HeaderMap::from_iter([(
        http::HeaderName::from_static("repr-digest"),
        HeaderValue::from_static("sha-256=:AA==:"),
    )]);
    for (is_ended, size, trailers) in [
        (true, SizeHint::new(), None),
        (true, SizeHint::with_exact(0), None),
        (false, SizeHint::with_exact(0), None),
        (false, SizeHint::with_exact(0), Some(digest)),
    ] {
        let mut body = Some(Empty { is_ended, size, trailers: trailers.clone() });
        let service = ServiceBuilder::new().layer(secure()).service_fn(|_: Request<()>| {
            let response = Response::builder()
                .header("content-type", "text/html")
                .header("content-length", 0)
                .header("etag", "\"a\"")
                .header("link", "<http://h/>; rel=preload");
            std::future::ready(Ok::<_, Infallible>(response.body(body.take().unwrap()).unwrap()))
        });
        let (parts, body) = service.oneshot(request(&[])).await.unwrap().into_parts();
        assert_eq!(http_body::Body::is_end_stream(&body), is_ended);
        assert_eq!(body.collect().await.unwrap().trailers(), trailers.as_ref());
        let told = ["content-length", "etag", "link"].map(|name| parts.headers[name].to_str().unwrap());
        assert_eq!(told, ["0", "\"a\"", "<https://h/>; rel=preload"]);
        assert_eq!(parts.headers.len(), 4);
    }
}
