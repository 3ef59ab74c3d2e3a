//! Whatever a client sends, the stack gives the outcome that it documents, and never panics.

mod common;

use std::convert::Infallible;

use bytes::Bytes;
use common::stack;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_proxied::forced_host::AllowedHosts;
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::{
    BehindProxyLayer, ForceHttpsBodyLayer, ForcedHostLayer, ForwardedForLayer, Identity, PathPrefix,
    PeerAddr, Proof, Proxied, ProxyRemoteUserLayer, PublicUrl, Refusal, ScriptName, ScriptNamePrefixLayer,
    TrustedProxies,
};

/// What the inner service sees of a request.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    method: Method,
    target: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: String,
}

/// An application that tells what it saw.
fn telling() -> impl Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone {
    service_fn(|request: Request<()>| async move {
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
        response.headers_mut().insert("location", HeaderValue::from_static("/login"));
        response.extensions_mut().insert(seen);
        Ok::<_, Infallible>(response)
    })
}

fn serve(peer: PeerAddr, request: Request<()>) -> (Response<Bytes>, Option<Seen>) {
    served_by(stack().layer(telling()), peer, request)
}

fn served_by<S, R>(service: S, peer: PeerAddr, mut request: Request<()>) -> (Response<Bytes>, Option<Seen>)
where
    S: Service<Request<()>, Response = Response<R>, Error = Infallible>,
    R: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    request.extensions_mut().insert(peer);
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
    fn the_composite_is_the_stack_made_by_hand(
        lines in prop::collection::vec((any_name(), value()), 0..8),
        target in target(),
        is_proxy in any::<bool>(),
        has in prop::array::uniform5(any::<bool>()),
        is_exempt in any::<bool>(),
    ) {
        let trusted = TrustedProxies::loopback();
        let claims = Claims::none().scheme(Written::Set.optional()).host(Written::Appended.optional());
        let forwarded_for = ForwardedForLayer::x_forwarded_for(trusted.clone()).claims(claims);
        let proxy_remote_user = ProxyRemoteUserLayer::new(Proof::peer(trusted));
        let forced_host =
            ForcedHostLayer::allowed(AllowedHosts::from_static(&["www.example.org", "[::1]"])).use_proxied();
        let script_name = ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps"));
        let https = ForceHttpsBodyLayer::new();
        let path = if is_exempt { target.path() } else { "/healthz" };

        let forwarded_for = if has[0] { forwarded_for } else { ForwardedForLayer::disabled() };
        let proxy_remote_user = proxy_remote_user.exempt_path(path).build().unwrap();
        let proxy_remote_user = if has[1] { proxy_remote_user } else { ProxyRemoteUserLayer::disabled() };
        let forced_host = if has[2] { forced_host } else { ForcedHostLayer::disabled() };
        let script_name = if has[3] { script_name } else { ScriptNamePrefixLayer::disabled() };
        let https = if has[4] { https } else { ForceHttpsBodyLayer::disabled() };

        let request = || {
            let mut request = Request::builder().uri(target.clone()).body(()).unwrap();
            request.headers_mut().extend(lines.clone());
            request
        };
        let peer = || if is_proxy { proxy() } else { stranger() };
        let composite = BehindProxyLayer::new(forwarded_for.clone())
            .exempt_path(path)
            .proxy_remote_user(proxy_remote_user.clone())
            .forced_host(forced_host.clone())
            .script_name_prefix(script_name.clone())
            .force_https_body(https.clone());
        let by_hand = ServiceBuilder::new()
            .layer(forwarded_for.exempt_path(path))
            .layer(proxy_remote_user)
            .layer(forced_host.exempt_path(path))
            .layer(script_name.exempt_path(path))
            .layer(https.exempt_path(path));
        let (ours, ours_saw) = served_by(composite.layer(telling()), peer(), request());
        let (theirs, they_saw) = served_by(by_hand.service(telling()), peer(), request());
        prop_assert_eq!(ours_saw, they_saw);
        prop_assert_eq!(ours.status(), theirs.status());
        prop_assert_eq!(ours.headers(), theirs.headers());
        prop_assert_eq!(ours.extensions().get::<Refusal>(), theirs.extensions().get::<Refusal>());
        prop_assert_eq!(ours.body(), theirs.body());
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
