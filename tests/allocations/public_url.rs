//! What ForcedHost and PublicUrl take from the heap: nothing to check a host, one boxed value to say where the
//! application stands, and one text for a link.

mod counting;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::ready;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{Extensions, HeaderValue, Request, Response, header};
use tower::{Layer, Service, service_fn};
use tower_proxied::forced_host::{AllowedHosts, ForcedHostLayer, Origin, OriginalHost, Site, Sites};
use tower_proxied::wire::host::HostPort;
use tower_proxied::{PublicUrl, Scheme};

use self::counting::{Taken, taken};

const NOTHING: Taken = Taken { allocations: 0, bytes: 0 };
const VALUE: Taken = Taken { allocations: 1, bytes: size_of::<PublicUrl>() };

#[test]
fn a_check_of_a_host_takes_nothing() {
    let many: Vec<String> = (0..10_000).map(|number| format!(".host-{number}.example")).collect();
    let long = format!("{}.host-7.example", ["a"; 100].join("."));
    for allowed in [
        AllowedHosts::parse(["example.com"]).unwrap(),
        AllowedHosts::parse([".example.com", "*.host-7.example", "[2001:db8::1]", "192.0.2.1:81"]).unwrap(),
        AllowedHosts::parse(&many).unwrap(),
        AllowedHosts::parse(&many).unwrap().any_port(),
        AllowedHosts::any(),
    ] {
        for host in [
            "Example.COM.",
            "a.host-7.example:8443",
            "evil.example",
            "[2001:DB8:0::1]",
            "192.0.2.1:81",
            &long,
        ] {
            let check = || HostPort::parse(host.as_bytes()).map(|host| allowed.allows(Scheme::Https, &host));
            let (taken, answer) = taken(black_box(check));
            assert!(answer.is_some(), "{host}");
            assert_eq!(taken, NOTHING, "{host}");
        }
    }
}

#[test]
fn a_link_takes_its_text() {
    let long = format!("/{}?{}", "é".repeat(10_000), "../".repeat(10_000));
    for public in ["https://example.com", "http://[2001:db8::1]:8080/caf%C3%A9/app"] {
        let public = PublicUrl::parse(public).unwrap();
        let own = format!("{public}/own/../x?y#z");
        for (current_path, reference) in [
            ("/", "/reset/abc"),
            ("/", ""),
            ("/list?page=1", "?page=2"),
            ("/a b/c\\?é", "../../%2e%2e/ é%zz\"<>?\"[]#^"),
            ("*", "x/.././//y"),
            ("/", &own),
            ("/", &long),
            (&long, "#end"),
        ] {
            let (taken, link) = taken(|| public.absolute_from(black_box(current_path), black_box(reference)));
            let link = link.unwrap();
            assert_eq!(taken, Taken { allocations: 1, bytes: link.capacity() }, "{link}");
        }
        for reference in ["//evil.example/x", "/\\evil.example", "javascript:x", "/\t"] {
            let (taken, link) = taken(|| public.absolute(black_box(reference)));
            assert!(link.is_err());
            assert_eq!(taken, NOTHING, "{reference}");
        }
    }
}

#[test]
fn a_fixed_public_url_takes_its_value() {
    let long = format!("https://{}/{}", ["example"; 20].join("."), "app/".repeat(50));
    for public in ["https://example.com", "https://example.com:8443/webapps", &long] {
        let layer = ForcedHostLayer::fixed(PublicUrl::parse(public).unwrap());
        assert_eq!(through(&layer, "evil.example"), VALUE, "{public}");
    }
    assert_eq!(through(&ForcedHostLayer::disabled(), "example.com"), NOTHING);
}

#[test]
fn an_allowed_host_takes_the_host_and_a_site_takes_the_site() {
    let counted = size_of::<HostPort<'static>>() + 2 * size_of::<usize>();
    let layer = ForcedHostLayer::allowed(AllowedHosts::from_static(&["example.com"]));
    let host = Taken { allocations: 2, bytes: VALUE.bytes + counted };
    assert!(size_of::<Origin>() < counted, "the host is behind a counter of references");
    assert_eq!(through(&layer, "Example.com:443"), host);

    let site = Site::new("shop", PublicUrl::from_static("https://example.com/shop"));
    let layer = ForcedHostLayer::sites(Sites::new([site]).unwrap());
    let site = Taken { allocations: 2, bytes: VALUE.bytes + size_of::<Site>() };
    assert_eq!(through(&layer, "example.com"), site);
}

/// The host as text, the same as a field value, and the extension that keeps the old one.
#[test]
fn a_host_that_is_rewritten_takes_two_texts_and_what_it_was() {
    let layer = ForcedHostLayer::fixed(PublicUrl::from_static("https://example.com")).rewrite_host();
    let rewritten = through(&layer, "internal:8000");
    let text = "example.com".len();
    assert_eq!(rewritten.allocations, VALUE.allocations + 3);
    assert_eq!(rewritten.bytes, VALUE.bytes + 2 * text + size_of::<OriginalHost>());
}

/// What the layer takes for a request whose extensions have room.
fn through(layer: &ForcedHostLayer, host: &'static str) -> Taken {
    let served = Cell::new(false);
    let mut service = layer.layer(service_fn(|_: Request<()>| {
        served.set(true);
        ready(Ok::<_, Infallible>(Response::new(())))
    }));
    let mut request = Request::new(());
    request.headers_mut().insert(header::HOST, HeaderValue::from_static(host));
    let mut extensions = Extensions::new();
    extensions.insert(1_u8);
    *request.extensions_mut() = extensions;
    let (taken, answer) = taken(|| {
        let mut context = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut context).is_ready());
        pin!(service.call(request)).poll(&mut context)
    });
    assert!(matches!(answer, Poll::Ready(Ok(answer)) if answer.status() == 200));
    drop(service);
    assert!(served.get());
    taken
}
