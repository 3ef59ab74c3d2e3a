//! Whatever a client sends, the stack gives the outcome that it documents, and never panics.

mod common;

use std::convert::Infallible;

use bytes::Bytes;
use common::stack;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn};
use tower_proxied::{
    ForcedHostLayer, Identity, PathPrefix, PeerAddr, Proxied, PublicUrl, Refusal, ScriptName,
    ScriptNamePrefixLayer,
};

/// What the inner service sees of a request.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    method: Method,
    target: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: String,
}

fn serve(peer: PeerAddr, mut request: Request<()>) -> (Response<Bytes>, Option<Seen>) {
    request.extensions_mut().insert(peer);
    let service = stack().layer(service_fn(|request: Request<()>| async move {
        let (parts, ()) = request.into_parts();
        let extensions = format!(
            "{:?} {:?} {:?} {:?}",
            parts.extensions.get::<Proxied>(),
            parts.extensions.get::<Identity>(),
            parts.extensions.get::<PublicUrl>(),
            parts.extensions.get::<ScriptName>(),
        );
        let mut headers: Vec<_> =
            parts.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        headers.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        let seen = Seen { method: parts.method, target: parts.uri.to_string(), headers, extensions };
        let body = "<img src=http://static.example/logo.png><a href=http://www.example/>";
        let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
        response.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
        response.extensions_mut().insert(seen);
        Ok::<_, Infallible>(response)
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let seen = parts.extensions.get::<Seen>().cloned();
        (Response::from_parts(parts, body), seen)
    })
}

fn stranger() -> PeerAddr {
    PeerAddr::Tcp(([192, 0, 2, 66], 4711).into())
}

fn proxy() -> PeerAddr {
    PeerAddr::Tcp(([127, 0, 0, 1], 4711).into())
}

/// Names that the layers look at, their aliases, and any other.
fn name() -> impl Strategy<Value = HeaderName> {
    let known = prop::sample::select(vec![
        "x-forwarded-for",
        "x_forwarded_for",
        "forwarded",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-real-ip",
        "x-forwarded-prefix",
        "remote-user",
        "remote_user",
        "remote.user",
        "remote-groups",
        "x-remote-user",
        "x-forwarded-user",
        "client-cert",
        "tailscale-user-login",
    ]);
    known.prop_map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap())
}

fn any_name() -> impl Strategy<Value = HeaderName> {
    let other =
        "[a-z!#$%&'*+.^_`|~-]{1,12}".prop_filter_map("a name", |name| HeaderName::try_from(name).ok());
    prop_oneof![
        name(),
        Just(http::header::HOST),
        Just(http::header::COOKIE),
        Just(http::header::CONNECTION),
        other
    ]
}

fn value() -> impl Strategy<Value = HeaderValue> {
    let byte = prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8, Just(b'\t'), Just(b','), Just(b'"')];
    prop::collection::vec(byte, 0..60).prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap())
}

fn target() -> impl Strategy<Value = http::Uri> {
    let text = prop_oneof![
        Just(String::from("*")),
        Just(String::from("http://www.example.org/webapps/x")),
        "/webapps(/|//|/%2e%2e|/\\.\\.|/%2F|\\?|X|%5c)[a-z/%0-9.?=&;:@]{0,20}",
        "/[ -~]{0,20}",
    ];
    text.prop_filter_map("a target", |text| text.parse().ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn never_a_panic_and_only_documented_outcomes(
        lines in prop::collection::vec((any_name(), value()), 0..8),
        target in target(),
        is_proxy in any::<bool>(),
    ) {
        let mut request = Request::builder().uri(target).body(()).unwrap();
        request.headers_mut().extend(lines);
        let (response, seen) = serve(if is_proxy { proxy() } else { stranger() }, request);
        match response.extensions().get::<Refusal>() {
            Some(refusal) => {
                prop_assert!(seen.is_none());
                prop_assert_eq!(response.status(), refusal.status());
                prop_assert_eq!(response.headers().get_all("cache-control").iter().count(), 1);
            }
            None => {
                prop_assert!(seen.is_some());
                prop_assert_eq!(response.status(), StatusCode::OK);
            }
        }
    }

    #[test]
    fn what_a_stranger_adds_changes_nothing(lines in prop::collection::vec((name(), value()), 0..8)) {
        let plain = || Request::builder().uri("/webapps/x?q=1").header("accept", "*/*").body(()).unwrap();
        let mut forged = plain();
        forged.headers_mut().extend(lines);
        prop_assert_eq!(serve(stranger(), forged).1, serve(stranger(), plain()).1);
    }
}

#[tokio::test]
async fn the_prefix_is_in_links_whichever_of_the_two_layers_stands_outside() {
    let host = ForcedHostLayer::fixed(PublicUrl::from_static("https://www.example.org"));
    let prefix = ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps"));
    let told = service_fn(|request: Request<()>| async move {
        let public = request.extensions().get::<PublicUrl>().unwrap();
        let told = format!("{} {}", public.absolute("/x").unwrap(), request.uri());
        Ok::<_, Infallible>(Response::new(told))
    });
    let asked = || Request::builder().uri("/webapps/page").body(()).unwrap();
    let inside = host.layer(prefix.layer(told)).oneshot(asked()).await.unwrap().into_body();
    let outside = prefix.layer(host.layer(told)).oneshot(asked()).await.unwrap().into_body();
    for body in [inside.collect().await.unwrap(), outside.collect().await.unwrap()] {
        assert_eq!(body.to_bytes(), "https://www.example.org/webapps/x /page");
    }
}
