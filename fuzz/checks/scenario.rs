//! What a client can be behind.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::HeaderName;
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::{ForwardedForLayer, PeerAddr, TrustedProxies};

pub(crate) struct Scenario {
    pub(crate) layer: fn() -> ForwardedForLayer,
    pub(crate) peer: PeerAddr,
    pub(crate) source: &'static str,
    /// What the proxies write, and a header that is none of ours.
    pub(crate) attested: &'static [(&'static str, &'static str)],
    /// What the proxies set, so that the client's own lines of that name never come through.
    pub(crate) overwritten: &'static [&'static str],
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        layer: || ForwardedForLayer::x_forwarded_for(trusted()),
        peer: PROXY,
        source: "x-forwarded-for",
        attested: &[("x-forwarded-for", "203.0.113.5, 10.0.0.3"), ("accept", "*/*")],
        overwritten: &[],
    },
    Scenario {
        layer: || ForwardedForLayer::x_forwarded_for(trusted()).claims(all(Written::Set)),
        peer: PROXY,
        source: "x-forwarded-for",
        attested: &[
            ("x-forwarded-for", "[2001:db8::5]:4711"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-port", "8443"),
            ("x-forwarded-prefix", "/webapps"),
        ],
        overwritten: &["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"],
    },
    Scenario {
        layer: || ForwardedForLayer::x_forwarded_for(trusted()).claims(all(Written::Appended)),
        peer: PROXY,
        source: "x-forwarded-for",
        attested: &[
            ("x-forwarded-for", "203.0.113.5"),
            ("x-forwarded-for", "10.0.0.3"),
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-host", "shop.example, inner:8080"),
            ("x-forwarded-port", "8443, 80"),
            ("x-forwarded-prefix", "/webapps, /shop"),
        ],
        overwritten: &[],
    },
    Scenario {
        layer: || ForwardedForLayer::x_forwarded_for(trusted()).claims(all(Written::AppendedByNearest)),
        peer: PROXY,
        source: "x-forwarded-for",
        attested: &[
            ("x-forwarded-for", "unknown, 10.0.0.3"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-port", "8443"),
            ("x-forwarded-prefix", "/webapps"),
        ],
        overwritten: &[],
    },
    Scenario {
        layer: || ForwardedForLayer::forwarded(trusted()),
        peer: PROXY,
        source: "forwarded",
        attested: &[
            ("forwarded", r#"for=203.0.113.5;host="a,for=6.6.6.6;x=\"\\", for=10.0.0.3"#),
            ("accept", "*/*"),
        ],
        overwritten: &[],
    },
    Scenario {
        layer: || ForwardedForLayer::forwarded(trusted()),
        peer: PROXY,
        source: "forwarded",
        attested: &[
            ("forwarded", r#"for="[2001:db8::5]:4711";proto=https;host="shop.example:8443""#),
            ("forwarded", "For=10.0.0.4;by=_b ; proto=http, FOR=10.0.0.3"),
        ],
        overwritten: &[],
    },
    Scenario {
        layer: || ForwardedForLayer::x_forwarded_for(trusted()).claims(all(Written::Set)),
        peer: STRANGER,
        source: "x-forwarded-for",
        attested: &[("accept", "*/*")],
        overwritten: &[],
    },
    Scenario {
        layer: || ForwardedForLayer::forwarded(trusted()),
        peer: STRANGER,
        source: "forwarded",
        attested: &[("accept", "*/*")],
        overwritten: &[],
    },
    Scenario {
        layer: || {
            ForwardedForLayer::x_forwarded_for(trusted()).hops(2).claims(all(Written::Appended.optional()))
        },
        peer: PROXY,
        source: "x-forwarded-for",
        attested: &[
            ("x-forwarded-for", "10.0.0.9, 10.0.0.3"),
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-host", "not a host, inner"),
            ("x-forwarded-port", "0, 80"),
            ("x-forwarded-prefix", "/webapps, /shop"),
        ],
        overwritten: &[],
    },
    Scenario {
        layer: || ForwardedForLayer::forwarded(trusted()).unchecked_hops(2),
        peer: STRANGER,
        source: "forwarded",
        attested: &[("forwarded", r#"for="_hidden";host="\"", for=198.51.100.7"#)],
        overwritten: &[],
    },
    Scenario {
        layer: || ForwardedForLayer::single(HeaderName::from_static("x-real-ip"), trusted()),
        peer: PROXY,
        source: "x-real-ip",
        attested: &[("x-real-ip", "203.0.113.5"), ("accept", "*/*")],
        overwritten: &["x-real-ip"],
    },
    Scenario {
        layer: || ForwardedForLayer::cloudfront(trusted()),
        peer: PROXY,
        source: "cloudfront-viewer-address",
        attested: &[("cloudfront-viewer-address", "2001:db8::5:4711")],
        overwritten: &["cloudfront-viewer-address"],
    },
];

const PROXY: PeerAddr = PeerAddr::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 4711));
const STRANGER: PeerAddr = PeerAddr::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66)), 4711));

fn trusted() -> TrustedProxies {
    TrustedProxies::parse(["10.0.0.0/8"]).expect("a network")
}

fn all(written: impl Into<tower_proxied::forwarded_for::Declared> + Copy) -> Claims {
    Claims::none().scheme(written).host(written).port(written).prefix(written)
}
