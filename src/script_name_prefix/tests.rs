use std::borrow::Cow;

use http::{HeaderValue, Request, Uri, request};
use proptest::prelude::*;

use super::*;
use crate::forced_host::PublicUrl;
use crate::forwarded_for::{Claims, Written};
use crate::refusal::{Caller, RefusalKind};
use crate::shell::Unit;
use crate::wire::dot_segments;
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

fn script_name(parts: &request::Parts) -> (&str, Cow<'_, str>) {
    let script_name = parts.extensions.get::<ScriptName>().unwrap();
    (script_name.prefix().as_str(), script_name.public_path())
}

#[test]
fn absolute_form_keeps_its_authority() {
    let mut parts = parts("http://example.com/app//x?y");
    serve(&ScriptNamePrefixLayer::proxy_keeps(app()), &mut parts).unwrap();
    assert_eq!(parts.uri, "http://example.com/x?y");
    assert_eq!(script_name(&parts), ("/app", "/app//x?y".into()));
}

#[test]
fn absolute_form_without_a_path_asks_for_the_root() {
    let mut kept = parts("http://example.com?x");
    serve(&ScriptNamePrefixLayer::proxy_keeps(PathPrefix::root()), &mut kept).unwrap();
    assert_eq!(
        (kept.uri.to_string().as_str(), script_name(&kept)),
        ("http://example.com/?x", ("", "/?x".into()))
    );
    let mut stripped = parts("http://example.com?x");
    serve(&ScriptNamePrefixLayer::proxy_strips(app()), &mut stripped).unwrap();
    assert_eq!(stripped.uri, "http://example.com/?x");
    assert_eq!(script_name(&stripped), ("/app", "/app/?x".into()));
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
    assert_eq!(script_name(&probe), ("", "/healthz?full".into()));
    assert_eq!(serve(&layer, &mut parts("/healthz/")).unwrap_err(), RefusalKind::OutsidePrefix);

    let mut probe = parts("/healthz");
    serve(&ScriptNamePrefixLayer::from_proxied().exempt_path("/healthz"), &mut probe).unwrap();
    assert_eq!(script_name(&probe), ("", "/healthz".into()));
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
    assert_eq!(script_name(&undeclared), ("", "/x".into()));
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
    assert_eq!(script_name(&parts), ("/a/b", "/a//b/c?d".into()));
}

#[tokio::test]
async fn nested_layers_rewrite_responses_once() {
    use AlreadyPrefixed::{Always, Skip};
    for (outer, inner, rules, target, location, expected) in [
        ("/a", "/b", [Skip, Skip], "/a/b/x", "/y", "/a/b/y"),
        ("/a", "/b", [Skip, Skip], "/a/b/x", "/b/y", "/a/b/y"),
        ("/a", "/b", [Skip, Skip], "/a/b/x", "/a/b/y", "/a/b/y"),
        ("/a", "/b", [Skip, Skip], "/a/b/x", "/a/y", "/a/b/a/y"),
        ("/a", "/b", [Skip, Skip], "/a/b/x", "../../y", "/a/b/y"),
        ("/a", "/b", [Skip, Skip], "/a/b?q", "", "/a/b/?q"),
        ("/a", "/b", [Always, Always], "/a/b/x", "/y", "/a/b/y"),
        ("/a", "/b", [Always, Always], "/a/b/x", "/a/b/y", "/a/b/a/b/y"),
        ("/a", "/b", [Always, Skip], "/a/b/x", "/b/y", "/a/b/y"),
        ("/a", "/b", [Skip, Always], "/a/b/x", "/b/y", "/a/b/b/y"),
        ("/a", "/a", [Skip, Skip], "/a/a/x", "/y", "/a/a/y"),
        ("/a", "/a", [Skip, Skip], "/a/a/x", "/a/y", "/a/a/y"),
        ("/a", "/a", [Skip, Skip], "/a/a/x", "/a/a/y", "/a/a/y"),
        ("/a", "/a", [Skip, Skip], "/a/a?q", "", "/a/a/?q"),
        ("/a", "/a", [Always, Always], "/a/a/x", "/y", "/a/a/y"),
        ("/a", "/a", [Always, Always], "/a/a/x", "/a/y", "/a/a/a/y"),
        ("/a", "/a", [Always, Always], "/a/a?q", "", "/a/a/?q"),
        ("/a", "/a", [Skip, Always], "/a/a/x", "/a/y", "/a/a/a/y"),
        ("/a", "/a", [Always, Skip], "/a/a/x", "/y", "/a/a/y"),
        ("/a", "/a/a", [Skip, Skip], "/a/a/a/x", "/y", "/a/a/a/y"),
        ("/a", "", [Skip, Skip], "/a/x", "/y", "/a/y"),
        ("", "/a", [Skip, Skip], "/a/x", "/y", "/a/y"),
    ] {
        let keeps = |prefix, rule| {
            ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static(prefix)).already_prefixed(rule)
        };
        let service = tower::ServiceBuilder::new()
            .layer(keeps(outer, rules[0]))
            .layer(keeps(inner, rules[1]).bare(Bare::Redirect308))
            .service_fn(async |_: Request<()>| {
                http::Response::builder()
                    .header("location", location)
                    .header("set-cookie", "a=b; Path=/")
                    .body(())
            });
        let response =
            tower::ServiceExt::oneshot(service, Request::get(target).body(()).unwrap()).await.unwrap();
        let shown = format!("{outer} {inner} {rules:?} {target} {location}");
        assert_eq!(response.headers()["location"], expected, "{shown}");
        if let Some(cookie) = response.headers().get("set-cookie") {
            assert_eq!(cookie, &format!("a=b; Path={outer}{inner}"), "{shown}");
        }
    }
}

#[tokio::test]
async fn an_outer_layer_that_rewrites_nothing_is_not_written_for() {
    let keeps = |prefix| ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static(prefix));
    let service = tower::ServiceBuilder::new()
        .layer(keeps("/a").rewrite(ResponseRewrite::none()))
        .layer(keeps("/b"))
        .service_fn(async |_: Request<()>| http::Response::builder().header("location", "/y").body(()));
    let response = tower::ServiceExt::oneshot(service, Request::get("/a/b/x").body(()).unwrap()).await;
    assert_eq!(response.unwrap().headers()["location"], "/b/y");
}

/// Trailers and messages of gRPC are none of a browser's; a browser never follows what metadata says.
#[tokio::test]
async fn answers_to_grpc_are_untouched() {
    let service = tower::ServiceBuilder::new().layer(ScriptNamePrefixLayer::proxy_keeps(app())).service_fn(
        async |request: Request<()>| {
            assert_eq!(request.uri(), "/pkg.Service/Method");
            http::Response::builder().header("link", "</x>").header("location", "/x").body(())
        },
    );
    let request = Request::post("/app/pkg.Service/Method").header("content-type", "application/grpc+proto");
    let response = tower::ServiceExt::oneshot(service, request.body(()).unwrap()).await.unwrap();
    assert_eq!(
        (&response.headers()["link"], &response.headers()["location"]),
        (&HeaderValue::from_static("</x>"), &HeaderValue::from_static("/x"),)
    );
}

#[test]
fn the_bare_mount_point_of_a_prefix_mapped_to_the_root_is_served() {
    let mounts = Mounts { public: PathPrefix::root(), received: PathPrefix::from_static("/django") };
    let layer = ScriptNamePrefixLayer::proxy_maps(mounts).bare(Bare::Redirect308);
    for (target, inner) in [("/django", "/"), ("/django?x", "/?x")] {
        let mut parts = parts(target);
        serve(&layer, &mut parts).unwrap();
        assert_eq!(parts.uri, inner);
        assert_eq!(script_name(&parts), ("", inner.into()));
    }
}

#[test]
fn what_is_public_decides_whether_two_are_equal() {
    let left_by = |layer: &ScriptNamePrefixLayer, target| {
        let mut parts = parts(target);
        serve(layer, &mut parts).unwrap();
        parts.extensions.remove::<ScriptName>().unwrap()
    };
    let kept = left_by(&ScriptNamePrefixLayer::proxy_keeps(app()), "/app/x");
    let strips = ScriptNamePrefixLayer::proxy_strips(app());
    assert_eq!(kept, left_by(&strips, "/x"));
    assert_ne!(kept, left_by(&strips, "/y"));
    assert_ne!(kept, left_by(&ScriptNamePrefixLayer::proxy_strips(PathPrefix::root()), "/app/x"));
}

#[test]
fn bare_mount_point_of_a_mapped_prefix_redirects_to_the_public_one() {
    let mounts = Mounts { public: app(), received: PathPrefix::from_static("/django") };
    let layer = ScriptNamePrefixLayer::proxy_maps(mounts).bare(Bare::Redirect308);
    let config = layer.config.as_ref().unwrap();
    let refusal = config.on_request(&mut parts("/django?x=1")).unwrap_err();
    assert_eq!(refusal.status(), 308);
    let response = refusal.into_response::<()>(Caller::Http);
    assert_eq!(response.headers()["location"], "/app/?x=1");
}

/// Longer than any URI.
#[test]
fn a_public_path_that_is_too_long_is_no_error() {
    let long = format!("/{}", "a".repeat(65530));
    let mut parts = parts(&long);
    serve(&ScriptNamePrefixLayer::proxy_strips(app()), &mut parts).unwrap();
    assert_eq!(parts.uri, *long);
    assert_eq!(script_name(&parts), ("/app", format!("/app{long}").into()));
    #[cfg(feature = "axum")]
    assert!(parts.extensions.get::<axum::extract::OriginalUri>().is_none());
}

#[cfg(feature = "axum")]
#[test]
fn original_uri_is_the_one_that_the_browser_asked_for() {
    use axum::extract::OriginalUri;

    let original = |parts: &request::Parts| parts.extensions.get::<OriginalUri>().unwrap().0.to_string();
    let keeps = ScriptNamePrefixLayer::proxy_keeps(app());
    let strips = ScriptNamePrefixLayer::proxy_strips(app());
    let maps = ScriptNamePrefixLayer::proxy_maps(Mounts {
        public: app(),
        received: PathPrefix::from_static("/django"),
    });
    for (layers, target, public) in [
        (&[&keeps][..], "/app/x?y", "/app/x?y"),
        (&[&strips], "/x?y", "/app/x?y"),
        (&[&maps], "/django//x?y", "/app//x?y"),
        (&[&keeps, &keeps], "/app/app/x", "/app/app/x"),
        (&[&strips, &keeps], "/app/x", "/app/app/x"),
        (&[&strips, &strips], "/x", "/app/app/x"),
        (&[&strips], "http://example.com/x", "http://example.com/app/x"),
    ] {
        // A router outside sets it to what arrives, before the first layer.
        for is_set_before in [false, true] {
            let mut parts = parts(target);
            if is_set_before {
                parts.extensions.insert(OriginalUri(parts.uri.clone()));
            }
            for layer in layers {
                serve(layer, &mut parts).unwrap();
            }
            assert_eq!(original(&parts), public, "{target} {is_set_before}");
        }
    }
    // A router outside has taken a prefix of its own away, of which this layer knows nothing.
    let mut nested = parts("/x");
    nested.extensions.insert(OriginalUri(Uri::from_static("/nested/x")));
    serve(&strips, &mut nested).unwrap();
    assert_eq!(original(&nested), "/nested/x");
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
            prop_assert_eq!(script_name(&parts), ("/app", uri.path_and_query().unwrap().as_str().into()));
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
