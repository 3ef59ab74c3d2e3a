//! Nothing to find the client, and one boxed value to tell it.

use std::hint::black_box;

use http::{Extensions, HeaderName};
use tower_proxied::forwarded_for::{Claims, Outcome, Proxied, Written};
use tower_proxied::{ForwardedForLayer, PeerAddr, TrustedProxies};

use crate::counting::{Taken, taken};
use crate::{PROXY, STRANGER, call, request};

const FOR: &str = "x-forwarded-for";

#[test]
fn x_forwarded_for() {
    let layer = ForwardedForLayer::x_forwarded_for(trusted());
    let hostile = "6.6.6.6, ".repeat(60 * 1024 / 9);
    for (lines, outcome) in [
        (&["203.0.113.5"][..], Outcome::Resolved),
        (&["203.0.113.5, 10.0.0.3"], Outcome::Resolved),
        (&["203.0.113.5, 10.0.0.3, 10.0.0.4, 10.0.0.5"], Outcome::Resolved),
        (&["[2001:db8::5]:4711, ::ffff:10.0.0.3, 10.0.0.4:80"], Outcome::Resolved),
        (&["6.6.6.6", "203.0.113.5,, 10.0.0.3", "", "10.0.0.4"], Outcome::Resolved),
        (&["10.0.0.3, 10.0.0.4"], Outcome::AllTrusted),
        (&["unknown, 10.0.0.3"], Outcome::Obscured),
        (&["6.6.6.6, _hidden"], Outcome::Obscured),
        (&[""], Outcome::Missing),
        (&[], Outcome::Missing),
        (&[&(hostile.clone() + "203.0.113.5, 10.0.0.3")], Outcome::Resolved),
        (&[&(",".repeat(60 * 1024) + "203.0.113.5, 10.0.0.3")], Outcome::Resolved),
        (&[&hostile, "203.0.113.5, 10.0.0.3"], Outcome::Resolved),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| (FOR, *line)).collect();
        costs_nothing(&layer, PROXY, &lines, outcome);
        costs_nothing(&layer, STRANGER, &lines, Outcome::Direct);
    }
    costs_nothing(&layer.clone().hops(2), PROXY, &[(FOR, "10.0.0.4, 10.0.0.3")], Outcome::Resolved);
    costs_nothing(&layer.unchecked_hops(2), STRANGER, &[(FOR, "6.6.6.6, 10.0.0.3")], Outcome::Resolved);
}

#[test]
fn a_large_set() {
    let networks = (0..1_000_u32).map(|number| format!("11.{}.{}.0/25", number >> 8, number & 255));
    let layer = ForwardedForLayer::x_forwarded_for(TrustedProxies::parse(networks).unwrap() | trusted());
    costs_nothing(&layer, PROXY, &[(FOR, "203.0.113.5, 11.1.1.1")], Outcome::Resolved);
}

#[test]
fn headers_of_one_address() {
    let layer = ForwardedForLayer::single(HeaderName::from_static("x-real-ip"), trusted());
    costs_nothing(&layer, PROXY, &[("x-real-ip", "203.0.113.5")], Outcome::Resolved);
    costs_nothing(&layer, PROXY, &[], Outcome::Missing);
    let layer = ForwardedForLayer::single("x-custom-ip".parse().unwrap(), trusted());
    costs_nothing(&layer, PROXY, &[("x-custom-ip", "203.0.113.5")], Outcome::Resolved);
    let layer = ForwardedForLayer::cloudfront(trusted());
    let address = "cloudfront-viewer-address";
    costs_nothing(&layer, PROXY, &[(address, "2001:db8::5:4711")], Outcome::Resolved);
}

#[test]
fn forwarded() {
    let layer = ForwardedForLayer::forwarded(trusted());
    let hostile = r#"for=6.6.6.6;host="a,b", for="\"", "#.repeat(60 * 1024 / 34);
    for (line, outcome) in [
        ("for=203.0.113.5", Outcome::Resolved),
        ("for=203.0.113.5;proto=https;host=shop.example, for=10.0.0.3;proto=http", Outcome::Resolved),
        (r#"for="[2001:db8::5]:4711";host="shop.example:8443", for="10.0.0.3:80""#, Outcome::Resolved),
        (r#"for="2\03.0.113.5";host="s\hop.ex\ample";proto="h\ttps""#, Outcome::Resolved),
        (r#"for=203.0.113.5;host="a,for=6.6.6.6;x=\"\\""#, Outcome::Resolved),
        (r#"for=", for=203.0.113.5, for=10.0.0.3"#, Outcome::Resolved),
        ("for=10.0.0.4, for=10.0.0.3", Outcome::AllTrusted),
        ("for=_hidden;proto=https", Outcome::Obscured),
        ("proto=https;host=shop.example", Outcome::Obscured),
        ("", Outcome::Missing),
        (&(hostile + "for=203.0.113.5, for=10.0.0.3"), Outcome::Resolved),
    ] {
        costs_nothing(&layer, PROXY, &[("forwarded", line)], outcome);
        costs_nothing(&layer, STRANGER, &[("forwarded", line)], Outcome::Direct);
    }
    let host = &format!("for=203.0.113.5;host={}", "a".repeat(62));
    costs_nothing(&layer, PROXY, &[("forwarded", host)], Outcome::Resolved);
}

#[test]
fn claims() {
    for (written, scheme, host, port) in [
        (Written::Set, "https", "shop.example", "8443"),
        (Written::Appended, "https, http", "Shop.Example:8443, 10.0.0.3", "8443, 80"),
        (Written::AppendedByNearest, "ws, https", "evil.example, [2001:db8::1]:8443", "1, 8443"),
        (Written::Set, "gopher", "no host", "0"),
    ] {
        let declared = Claims::none().scheme(written).host(written).port(written);
        let layer = ForwardedForLayer::x_forwarded_for(trusted()).claims(declared);
        let lines = [
            (FOR, "203.0.113.5, 10.0.0.3"),
            ("x-forwarded-proto", scheme),
            ("x-forwarded-host", host),
            ("x-forwarded-port", port),
        ];
        costs_nothing(&layer, PROXY, &lines, Outcome::Resolved);
        costs_nothing(&layer, STRANGER, &lines, Outcome::Direct);
        costs_nothing(&layer, PROXY, &[], Outcome::Missing);
    }
    let optional = Written::Set.optional();
    let declared = Claims::none().scheme(optional).host(optional).port(optional).prefix(optional);
    let layer = ForwardedForLayer::x_forwarded_for(trusted()).claims(declared);
    costs_nothing(&layer, PROXY, &[(FOR, "203.0.113.5")], Outcome::Resolved);
}

/// Where nothing must be cut, the layer costs what its extension costs, to the byte.
#[test]
fn the_service_adds_one_value() {
    let claims = Claims::none().scheme(Written::Set).host(Written::Appended).port(Written::Set);
    let x_forwarded_for = ForwardedForLayer::x_forwarded_for(trusted()).claims(claims);
    let forwarded = ForwardedForLayer::forwarded(trusted());
    let attested = [
        (FOR, "203.0.113.5, 10.0.0.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example, inner"),
        ("x-forwarded-port", "8443"),
        ("accept", "*/*"),
    ];
    let element = ("forwarded", r#"for=203.0.113.5;proto=https;host="shop.ex\ample:8443", for=10.0.0.3"#);
    let real_ip = ForwardedForLayer::single(HeaderName::from_static("x-real-ip"), trusted());
    for (layer, lines) in [
        (&x_forwarded_for, &attested[..]),
        (&x_forwarded_for, &[]),
        (&forwarded, &[element, ("accept", "*/*")]),
        (&forwarded, &[("accept", "*/*")]),
        (&real_ip, &[("x-real-ip", "203.0.113.5")]),
    ] {
        let (into_empty, proxied) =
            through(&layer.clone().peer_from(|_| Some(PROXY)), Extensions::new(), lines);
        let mut extensions = Extensions::new();
        let (alone, _) = taken(|| extensions.insert(proxied));
        assert_eq!(into_empty, alone, "{lines:?}");
        println!("into an empty map: {alone:?}, the value has {} bytes", size_of::<Proxied>());

        let mut extensions = Extensions::new();
        extensions.insert(PROXY);
        let (beside_the_peer, _) = through(layer, extensions, lines);
        let value = Taken { allocations: 1, bytes: size_of::<Proxied>() };
        assert_eq!(beside_the_peer, value, "{lines:?}");
    }
}

#[test]
fn a_stranger_costs_one_value() {
    let layer = ForwardedForLayer::x_forwarded_for(trusted());
    let mut extensions = Extensions::new();
    extensions.insert(STRANGER);
    let value = Taken { allocations: 1, bytes: size_of::<Proxied>() };
    assert_eq!(through(&layer, extensions.clone(), &[("accept", "*/*")]).0, value);
    assert_eq!(through(&layer, extensions, &[("forwarded", "for=6.6.6.6")]).0, value);
}

fn trusted() -> TrustedProxies {
    TrustedProxies::parse(["10.0.0.0/8", "fd00::/64"]).unwrap()
}

fn costs_nothing(
    layer: &ForwardedForLayer,
    peer: PeerAddr,
    lines: &[(&'static str, &str)],
    outcome: Outcome,
) {
    let request = request(lines);
    let (taken, proxied) = taken(|| layer.resolve(black_box(Some(&peer)), black_box(request.headers())));
    let shown: Vec<_> = lines.iter().map(|(name, value)| (name, value.get(..80).unwrap_or(value))).collect();
    assert_eq!(proxied.unwrap().outcome(), outcome, "{shown:?}");
    assert_eq!(taken, Taken { allocations: 0, bytes: 0 }, "{shown:?}");
}

/// What the layer takes for a request with these extensions, and what it leaves.
fn through(
    layer: &ForwardedForLayer,
    extensions: Extensions,
    lines: &[(&'static str, &str)],
) -> (Taken, Proxied) {
    let mut request = request(lines);
    *request.extensions_mut() = extensions;
    let (taken, status, request) = call(layer, request);
    assert_eq!(status, 200);
    (taken, request.unwrap().extensions_mut().remove().unwrap())
}
