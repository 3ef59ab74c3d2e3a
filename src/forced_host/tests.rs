use std::convert::Infallible;

use http::{Method, Request, Response, Uri, Version};
use proptest::prelude::*;
use tower::{ServiceBuilder, ServiceExt};

use super::*;
use crate::forwarded_for::{Claims, ForwardedForLayer, Written};
use crate::trust::{PeerAddr, TrustedProxies};

fn layer() -> ForcedHostLayer {
    ForcedHostLayer::allowed(AllowedHosts::from_static(&["a.example", "b.example"]))
}

/// The target as the server hands it on, and lines of `Host`.
fn parts(version: Version, target: &str, hosts: &[&str]) -> request::Parts {
    let mut request = Request::new(());
    *request.uri_mut() = target.parse::<Uri>().expect("a target");
    *request.version_mut() = version;
    for host in hosts {
        request.headers_mut().append("host", host.parse().unwrap());
    }
    request.into_parts().0
}

fn origin(layer: &ForcedHostLayer, parts: &request::Parts) -> Result<String, RefusalKind> {
    match layer.resolve(parts) {
        Ok(public) => Ok(public.map_or(String::new(), |public| public.to_string())),
        Err(refusal) => Err(refusal.kind()),
    }
}

fn proxied(claims: Claims, lines: &[(&'static str, &str)]) -> Proxied {
    let mut headers = http::HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    let peer = PeerAddr::Tcp("127.0.0.1:1".parse().unwrap());
    let layer = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback()).claims(claims);
    layer.resolve(Some(&peer), &headers).unwrap()
}

#[test]
fn the_request_names_its_host() {
    use RefusalKind::*;
    let (h1, h2) = (Version::HTTP_11, Version::HTTP_2);
    for (version, target, hosts, expected) in [
        (h1, "/", &["A.example."][..], Ok("http://a.example")),
        (h1, "/", &["a.example:443"], Ok("http://a.example")),
        (h1, "/", &["a.example:8080"], Err(HostNotAllowed)),
        (h1, "/", &["c.example"], Err(HostNotAllowed)),
        (h1, "/", &["a.example@c.example"], Err(HostMalformed)),
        (h1, "/", &[], Err(HostMissing)),
        (h1, "/", &[""], Err(HostMissing)),
        (h1, "/", &["a.example", "a.example"], Err(HostDuplicate)),
        (h1, "/", &["a.example, b.example"], Err(HostMalformed)),
        (h1, "https://b.example/x", &["a.example"], Ok("http://b.example")),
        (h1, "http://b.example/x", &[], Ok("http://b.example")),
        (h1, "http://b.example/x", &["c.example"], Ok("http://b.example")),
        (h1, "http://b.example/x", &["c.example@"], Err(HostMalformed)),
        (h1, "http://b.example/x", &["b.example", "b.example"], Err(HostDuplicate)),
        (h1, "http://c.example/x", &["a.example"], Err(HostNotAllowed)),
        (h1, "http://a.example@c.example/", &["a.example"], Err(HostMalformed)),
        (h1, "*", &["a.example"], Ok("http://a.example")),
        (h2, "https://a.example/", &[], Ok("http://a.example")),
        (h2, "https://a.example/", &["A.example:443"], Ok("http://a.example")),
        (h2, "https://a.example/", &["b.example"], Err(HostMismatch)),
        (h2, "https://a.example/", &["a.example:8080"], Err(HostMismatch)),
        (h2, "https://a.example/", &["a.example", "a.example"], Err(HostDuplicate)),
        (h2, "/", &["b.example"], Ok("http://b.example")),
        (Version::HTTP_3, "https://a.example/", &["b.example"], Err(HostMismatch)),
    ] {
        let seen = origin(&layer(), &parts(version, target, hosts));
        assert_eq!(seen, expected.map(str::to_owned), "{version:?} {target} {hosts:?}");
    }
}

#[test]
fn connect_asks_for_the_host_it_wants() {
    for (target, expected) in [
        ("a.example:443", Ok("http://a.example".to_owned())),
        ("c.example:443", Err(RefusalKind::HostNotAllowed)),
    ] {
        let mut parts = parts(Version::HTTP_11, target, &["a.example"]);
        parts.method = Method::CONNECT;
        assert_eq!(origin(&layer(), &parts), expected);
    }
}

#[test]
fn no_host_is_the_default_origin() {
    let layer = layer().default_origin(PublicUrl::from_static("https://c.example/app"));
    for hosts in [&[][..], &[""]] {
        let parts = parts(Version::HTTP_10, "/", hosts);
        assert_eq!(origin(&layer, &parts), Ok("https://c.example/app".to_owned()));
    }
    let parts = parts(Version::HTTP_10, "/", &["-/-"]);
    assert_eq!(origin(&layer, &parts), Err(RefusalKind::HostMalformed));
}

#[test]
fn proxied_is_needed_where_it_is_used() {
    for layer in [layer().use_proxied(), layer().use_proxied_port()] {
        let mut parts = parts(Version::HTTP_11, "/", &["a.example"]);
        assert_eq!(origin(&layer, &parts), Err(RefusalKind::ProxiedMissing));
        parts.extensions.insert(proxied(Claims::none(), &[]));
        assert_eq!(origin(&layer, &parts), Ok("http://a.example".to_owned()));
    }
}

#[test]
fn attested_claims_win_over_the_request() {
    let all = Claims::none().scheme(Written::Set).host(Written::Set).port(Written::Set.optional());
    let said = |lines: &[(&'static str, &str)]| {
        let mut parts = parts(Version::HTTP_11, "/", &["internal/", "internal"]);
        parts.extensions.insert(proxied(all, lines));
        parts
    };
    let https = [("x-forwarded-proto", "https"), ("x-forwarded-host", "b.example:80")];
    let with_port = |port| [https.as_slice(), &[("x-forwarded-port", port)]].concat();
    let layer = layer().use_proxied();
    assert_eq!(origin(&layer, &said(&https)), Ok("https://b.example".to_owned()));
    assert_eq!(origin(&layer, &said(&with_port("8443"))), Ok("https://b.example".to_owned()));

    let layer = layer.use_proxied_port();
    assert_eq!(origin(&layer, &said(&https)), Ok("https://b.example".to_owned()));
    assert_eq!(origin(&layer, &said(&with_port("80"))), Ok("https://b.example".to_owned()));
    assert_eq!(origin(&layer, &said(&with_port("8443"))), Err(RefusalKind::HostNotAllowed));
    assert_eq!(origin(&layer, &said(&with_port("x"))), Err(RefusalKind::ClaimMalformed));
    assert_eq!(origin(&layer, &said(&[])), Err(RefusalKind::ClaimMissing), "a probe without any claim");
    let malformed = [("x-forwarded-proto", "https"), ("x-forwarded-host", "b.example/x")];
    assert_eq!(origin(&layer, &said(&malformed)), Err(RefusalKind::ClaimMalformed));
    let exempt = layer.exempt_path("/");
    assert_eq!(origin(&exempt, &said(&malformed)), Ok(String::new()));
}

#[test]
fn fixed_does_not_look() {
    let layer = ForcedHostLayer::fixed(PublicUrl::from_static("https://a.example/app")).use_proxied();
    for hosts in [&[][..], &["b.example", "c.example"], &["@"]] {
        let parts = parts(Version::HTTP_11, "http://x@y/", hosts);
        assert_eq!(origin(&layer, &parts), Ok("https://a.example/app".to_owned()));
    }
}

#[tokio::test]
async fn what_is_left_in_the_extensions() {
    let sites = Sites::new([
        Site::new("shop", PublicUrl::from_static("https://shop.example/store")),
        Site::new("blog", PublicUrl::from_static("https://blog.example")),
    ]);
    let service = ServiceBuilder::new()
        .layer(ForcedHostLayer::sites(sites.unwrap()).exempt_path("/healthz"))
        .service_fn(|request: Request<()>| async move {
            let mut response = Response::new(());
            *response.extensions_mut() = request.into_parts().0.extensions;
            Ok::<_, Infallible>(response)
        });
    let call = async |path: &str, host: &str| {
        let stale = PublicUrl::from_static("https://stale.example");
        let request = Request::get(path)
            .header("host", host)
            .extension(stale.clone())
            .extension(Site::new("stale", stale))
            .body(())
            .unwrap();
        service.clone().oneshot(request).await.unwrap().into_parts().0
    };

    let shop = call("/", "Shop.example").await;
    assert_eq!(shop.extensions.get::<Site>().map(Site::name), Some("shop"));
    assert_eq!(shop.extensions.get::<PublicUrl>().unwrap().to_string(), "https://shop.example/store");

    let wiki = call("/", "wiki.example").await;
    assert_eq!(wiki.status, 421);
    assert_eq!(wiki.extensions.get::<Refusal>().map(Refusal::kind), Some(RefusalKind::HostNotAllowed));

    let healthz = call("/healthz", "10.0.3.17").await;
    assert_eq!(healthz.status, 200);
    assert_eq!(healthz.extensions.get::<PublicUrl>(), None);
    assert!(healthz.extensions.get::<Site>().is_none());
    assert_eq!(call("/healthz/", "10.0.3.17").await.status, 421);
}

#[test]
fn disabled_knows_nothing() {
    let parts = parts(Version::HTTP_11, "/", &["@"]);
    assert_eq!(ForcedHostLayer::disabled().rewrite_host().resolve(&parts), Ok(None));
}

proptest! {
    #[test]
    fn whatever_is_asked_the_origin_is_on_the_list(
        version in prop::sample::select(vec![Version::HTTP_10, Version::HTTP_11, Version::HTTP_2]),
        target in "(/x|https?://[ac.:@8]{0,4}(a\\.example|c\\.example)[.:@0-9]{0,4}/x)",
        hosts in prop::collection::vec("[a.:@8,]{0,3}(a\\.example|c\\.example)[.:@0-9 ]{0,4}", 0..3),
    ) {
        let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let parts = parts(version, &uri.to_string(), &hosts);
        if let Ok(origin) = origin(&layer(), &parts) {
            prop_assert!(["http://a.example", "http://b.example"].contains(&origin.as_str()), "{}", origin);
        }
    }
}
