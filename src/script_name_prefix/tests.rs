use http::Request;
use proptest::prelude::*;

use super::*;
use crate::forwarded_for::{Claims, Written};
use crate::wire::host::{HostPort, Scheme};
use crate::{ForwardedForLayer, PeerAddr, TrustedProxies};

fn app() -> PathPrefix {
    PathPrefix::from_static("/app")
}

fn parts(target: &str) -> request::Parts {
    Request::get(target).body(()).unwrap().into_parts().0
}

fn serve(layer: &ScriptNamePrefixLayer, parts: &mut request::Parts) -> Result<PublicPaths, RefusalKind> {
    layer.config.as_ref().unwrap().on_request(parts).map_err(|refusal| refusal.kind())
}

fn script_name(parts: &request::Parts) -> (&str, &str) {
    let script_name = parts.extensions.get::<ScriptName>().unwrap();
    (script_name.prefix().as_str(), script_name.public_path().as_str())
}

#[test]
fn absolute_form_keeps_its_authority() {
    let mut parts = parts("http://example.com/app//x?y");
    serve(&ScriptNamePrefixLayer::proxy_keeps(app()), &mut parts).unwrap();
    assert_eq!(parts.uri, "http://example.com/x?y");
    assert_eq!(script_name(&parts), ("/app", "/app//x?y"));
}

#[test]
fn absolute_form_without_a_path_asks_for_the_root() {
    let mut kept = parts("http://example.com?x");
    serve(&ScriptNamePrefixLayer::proxy_keeps(PathPrefix::root()), &mut kept).unwrap();
    assert_eq!((kept.uri.to_string().as_str(), script_name(&kept)), ("http://example.com/?x", ("", "/?x")));
    let mut stripped = parts("http://example.com?x");
    serve(&ScriptNamePrefixLayer::proxy_strips(app()), &mut stripped).unwrap();
    assert_eq!(stripped.uri, "http://example.com/?x");
    assert_eq!(script_name(&stripped), ("/app", "/app/?x"));
}

/// A WebSocket over HTTP/2 is a CONNECT with a path (RFC 8441, section 4).
#[test]
fn extended_connect_has_a_path() {
    let mut parts = parts("https://example.com/app/socket");
    parts.method = http::Method::CONNECT;
    serve(&ScriptNamePrefixLayer::proxy_keeps(app()), &mut parts).unwrap();
    assert_eq!(parts.uri, "https://example.com/socket");
}

#[test]
fn exempt_paths_are_never_refused() {
    let layer = ScriptNamePrefixLayer::proxy_keeps(app()).exempt_path("/healthz");
    let mut probe = parts("/healthz?full");
    serve(&layer, &mut probe).unwrap();
    assert_eq!(probe.uri, "/healthz?full");
    assert_eq!(script_name(&probe), ("", "/healthz?full"));
    assert_eq!(serve(&layer, &mut parts("/healthz/")).unwrap_err(), RefusalKind::OutsidePrefix);

    let mut probe = parts("/healthz");
    serve(&ScriptNamePrefixLayer::from_proxied().exempt_path("/healthz"), &mut probe).unwrap();
    assert_eq!(script_name(&probe), ("", "/healthz"));
}

#[test]
fn from_proxied_wants_the_layer_and_the_claim() {
    let layer = ScriptNamePrefixLayer::from_proxied();
    assert_eq!(serve(&layer, &mut parts("/x")).unwrap_err(), RefusalKind::ProxiedMissing);

    let proxied = |claims| {
        let mut parts = parts("/x");
        let forwarded = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback()).claims(claims);
        let peer = PeerAddr::Tcp("127.0.0.1:1".parse().unwrap());
        parts.extensions.insert(forwarded.resolve(Some(&peer), &parts.headers).unwrap());
        parts
    };
    let mut required = proxied(Claims::none().prefix(Written::Set));
    assert_eq!(serve(&layer, &mut required).unwrap_err(), RefusalKind::ClaimMissing);
    let mut undeclared = proxied(Claims::none());
    serve(&layer, &mut undeclared).unwrap();
    assert_eq!(script_name(&undeclared), ("", "/x"));
}

#[test]
fn public_url_is_completed() {
    let url = || {
        let host = HostPort::parse(b"example.com").unwrap();
        PublicUrl::new(Scheme::Https, host, PathPrefix::from_static("/configured"))
    };
    let completed = |layer: &ScriptNamePrefixLayer, target| {
        let mut parts = parts(target);
        parts.extensions.insert(url());
        serve(layer, &mut parts).unwrap();
        parts.extensions.get::<PublicUrl>().unwrap().to_string()
    };
    let keeps = ScriptNamePrefixLayer::proxy_keeps(app()).unmatched(Unmatched::PassThrough);
    assert_eq!(completed(&keeps, "/app/x"), "https://example.com/app");
    assert_eq!(completed(&keeps, "/x"), "https://example.com/configured");
    let root = ScriptNamePrefixLayer::proxy_keeps(PathPrefix::root());
    assert_eq!(completed(&root, "/x"), "https://example.com/configured");
}

#[test]
fn nested_prefixes_add_up_and_the_public_path_stays() {
    let mut parts = parts("/a//b/c?d");
    serve(&ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/a")), &mut parts).unwrap();
    serve(&ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/b")), &mut parts).unwrap();
    assert_eq!(parts.uri, "/c?d");
    assert_eq!(script_name(&parts), ("/a/b", "/a//b/c?d"));
}

#[tokio::test]
async fn nested_layers_rewrite_responses_in_turn() {
    let keeps = |prefix| ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static(prefix));
    let location = async |target: &str, location: &'static str| {
        let service = tower::ServiceBuilder::new()
            .layer(keeps("/a"))
            .layer(keeps("/b").bare(Bare::Redirect308))
            .service_fn(async |_: Request<()>| {
                http::Response::builder().header("location", location).body(())
            });
        let response =
            tower::ServiceExt::oneshot(service, Request::get(target).body(()).unwrap()).await.unwrap();
        response.headers()["location"].to_str().unwrap().to_owned()
    };
    assert_eq!(location("/a/b/x", "/y").await, "/a/b/y");
    assert_eq!(location("/a/b/x", "/a/b/y").await, "/a/b/y");
    assert_eq!(location("/a/b/x", "../../y").await, "/a/b/y");
    assert_eq!(location("/a/b?q", "").await, "/a/b/?q");
}

#[test]
fn bare_mount_point_of_a_mapped_prefix_redirects_to_the_public_one() {
    let mounts = Mounts { public: app(), received: PathPrefix::from_static("/django") };
    let layer = ScriptNamePrefixLayer::proxy_maps(mounts).bare(Bare::Redirect308);
    let config = layer.config.as_ref().unwrap();
    let refusal = config.on_request(&mut parts("/django?x=1")).unwrap_err();
    assert_eq!(refusal.status(), 308);
    let response = refusal.into_response::<()>(crate::refusal::Caller::Http);
    assert_eq!(response.headers()["location"], "/app/?x=1");
}

/// What a URI cannot hold: vector `request/too-long`.
#[test]
fn a_public_path_that_is_too_long_is_no_error() {
    let long = format!("/{}", "a".repeat(65530));
    let mut parts = parts(&long);
    serve(&ScriptNamePrefixLayer::proxy_strips(app()), &mut parts).unwrap();
    assert_eq!(parts.uri, *long);
    assert_eq!(script_name(&parts), ("/app", &*long));
    #[cfg(feature = "axum")]
    assert!(parts.extensions.get::<axum::extract::OriginalUri>().is_none());
}

#[cfg(feature = "axum")]
#[test]
fn original_uri_is_set_once() {
    use axum::extract::OriginalUri;

    let mut parts = parts("/app/x?y");
    serve(&ScriptNamePrefixLayer::proxy_keeps(app()), &mut parts).unwrap();
    assert_eq!(parts.extensions.get::<OriginalUri>().unwrap().0, "/app/x?y");
    serve(&ScriptNamePrefixLayer::proxy_strips(app()), &mut parts).unwrap();
    assert_eq!(parts.extensions.get::<OriginalUri>().unwrap().0, "/app/x?y");

    let mut stripped = self::parts("/x?y");
    serve(&ScriptNamePrefixLayer::proxy_strips(app()), &mut stripped).unwrap();
    assert_eq!(stripped.extensions.get::<OriginalUri>().unwrap().0, "/app/x?y");
}

#[test]
fn disabled_does_nothing() {
    let mut parts = parts("/app/../x");
    Config::when_disabled(&mut parts);
    assert_eq!(parts.uri, "/app/../x");
    assert!(parts.extensions.get::<ScriptName>().is_none());
}

proptest! {
    /// What goes in stands below the prefix, begins with one slash, and is a tail of what came.
    #[test]
    fn inner_paths(target in "/(app|%61pp|a)(/|%2e|[.]|\\\\|[a-z?%])*") {
        let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
        let mut parts = parts("/");
        parts.uri = uri.clone();
        if serve(&ScriptNamePrefixLayer::proxy_keeps(app()), &mut parts).is_ok() {
            let inner = parts.uri.path_and_query().unwrap().as_str();
            prop_assert!(inner.starts_with('/') && !inner.starts_with("//"));
            prop_assert!(!dot_segments::climbs_out(parts.uri.path().as_bytes()));
            prop_assert!(uri.path_and_query().unwrap().as_str().ends_with(inner.trim_start_matches('/')));
            prop_assert_eq!(script_name(&parts), ("/app", uri.path_and_query().unwrap().as_str()));
        }
    }

    #[test]
    fn no_target_panics(target in prop::collection::vec(any::<u8>(), 0..32)) {
        let Ok(uri) = Uri::try_from(&target[..]) else { return Ok(()) };
        for layer in [
            ScriptNamePrefixLayer::proxy_keeps(app()),
            ScriptNamePrefixLayer::proxy_strips(app()),
            ScriptNamePrefixLayer::either(app()).bare(Bare::Redirect308),
        ] {
            let mut parts = parts("/");
            parts.uri = uri.clone();
            let _ = serve(&layer, &mut parts);
        }
    }
}
