use std::net::{IpAddr, SocketAddr};

use http::{Request, Version};
use proptest::prelude::*;

use super::*;
use crate::forwarded_for::{Claims, ForwardedForLayer, Outcome, Written as Told};
use crate::trust::TrustedProxies;
use crate::wire::host::HostPort;

const LOOPBACK: PeerAddr = PeerAddr::Tcp(SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9));

fn request(peer: Option<PeerAddr>, host: &str, lines: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::get("/page").header(header::HOST, host);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let mut parts = request.body(()).unwrap().into_parts().0;
    peer.map(|peer| parts.extensions.insert(peer));
    parts
}

fn tell(layer: SetForwardedLayer, mut parts: request::Parts) -> Result<HeaderMap, RefusalKind> {
    layer.config.unwrap().on_request(&mut parts).map_err(|refusal| refusal.kind())?;
    Ok(parts.headers)
}

fn written(layer: SetForwardedLayer, peer: &str, lines: &[(&str, &str)]) -> Vec<String> {
    let peer = if peer == "unix" { PeerAddr::Unix } else { PeerAddr::Tcp(peer.parse().unwrap()) };
    let headers = tell(layer, request(Some(peer), "Shop.Example:8443", lines)).unwrap();
    let mut written: Vec<String> = headers
        .iter()
        .filter(|(name, _)| *name != header::HOST)
        .map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii()))
        .collect();
    written.sort();
    written
}

#[test]
fn an_edge_takes_the_place_of_what_the_client_says() {
    let spoofed = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "7.7.7.7"),
        ("x_forwarded_for", "6.6.6.6"),
        ("X.Forwarded.Host", "evil.example"),
        ("forwarded", "for=6.6.6.6"),
        ("true-client-ip", "6.6.6.6"),
        ("x-forwarded-prefix", "/evil"),
        ("x-page", "1"),
        ("connection", "x-forwarded-for, X_Forwarded_Host, x-page"),
    ];
    assert_eq!(
        written(SetForwardedLayer::edge().listener_scheme(Scheme::Https), "203.0.113.5:4711", &spoofed),
        [
            "connection: x-page",
            "x-forwarded-for: 203.0.113.5",
            "x-forwarded-host: shop.example:8443",
            "x-forwarded-proto: https",
            "x-page: 1",
        ]
    );
    assert_eq!(
        written(SetForwardedLayer::forwarded_edge(), "[2001:db8::1]:4711", &spoofed),
        [
            "connection: x-page",
            r#"forwarded: for=\"[2001:db8::1]\";host=\"shop.example:8443\";proto=http"#,
            "x-page: 1"
        ]
    );
}

#[test]
fn all_options() {
    let layer = SetForwardedLayer::edge()
        .listener_port(8443)
        .prefix(PathPrefix::from_static("/webapps"))
        .client_port();
    assert_eq!(
        written(layer, "[::ffff:192.0.2.1]:80", &[]),
        [
            "x-forwarded-for: 192.0.2.1:80",
            "x-forwarded-host: shop.example:8443",
            "x-forwarded-port: 8443",
            "x-forwarded-prefix: /webapps",
            "x-forwarded-proto: http",
        ]
    );
    let node = |layer, peer| written(layer, peer, &[]).remove(0);
    let (edge, forwarded) = (SetForwardedLayer::edge, SetForwardedLayer::forwarded_edge);
    assert_eq!(node(edge(), "[2001:db8::1]:80"), "x-forwarded-for: 2001:db8::1");
    assert_eq!(node(edge().client_port(), "[2001:db8::1]:80"), "x-forwarded-for: [2001:db8::1]:80");
    assert_eq!(node(edge(), "unix"), "x-forwarded-for: unknown");
    assert!(node(forwarded(), "unix").starts_with("forwarded: for=unknown;"));
    assert!(node(forwarded(), "192.0.2.1:80").starts_with("forwarded: for=192.0.2.1;"));
    let with_port = node(forwarded().client_port(), "192.0.2.1:80");
    assert!(with_port.starts_with(r#"forwarded: for=\"192.0.2.1:80\";"#), "{with_port}");
    let root = written(edge().prefix(PathPrefix::root()), "192.0.2.1:80", &[]);
    assert!(root.contains(&"x-forwarded-prefix: /".to_owned()), "{root:?}");
}

#[test]
fn a_further_hop_appends_in_one_line() {
    let earlier = [
        ("x-forwarded-for", "203.0.113.5"),
        ("x-forwarded-for", ""),
        ("x-forwarded-for", "10.0.0.1"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "203.0.113.5"),
    ];
    assert_eq!(
        written(SetForwardedLayer::appending(), "10.0.0.2:4711", &earlier),
        [
            "x-forwarded-for: 203.0.113.5, 10.0.0.1, 10.0.0.2",
            "x-forwarded-host: shop.example:8443",
            "x-forwarded-proto: https, http",
            "x-real-ip: 203.0.113.5",
        ]
    );
    let forwarded = |line| {
        written(SetForwardedLayer::forwarded_appending(), "10.0.0.2:1", &[("forwarded", line)]).remove(0)
    };
    let own = r#"for=10.0.0.2;host=\"shop.example:8443\";proto=http"#;
    assert_eq!(forwarded("for=192.0.2.1"), format!("forwarded: for=192.0.2.1, {own}"));
    assert_eq!(forwarded(r#"for=192.0.2.1, for=""#), format!("forwarded: {own}"), "an open quote");
}

#[test]
fn refusals() {
    let peer = Some(LOOPBACK);
    let refused = |parts| tell(SetForwardedLayer::edge(), parts).unwrap_err();
    assert_eq!(refused(request(None, "a", &[])), RefusalKind::NoPeer);
    assert_eq!(refused(request(peer, "a@b", &[])), RefusalKind::HostMalformed);
    assert_eq!(refused(request(peer, "a", &[("host", "a")])), RefusalKind::HostDuplicate);
    let mut parts = request(peer, "a", &[]);
    parts.headers.clear();
    assert_eq!(refused(parts), RefusalKind::HostMissing);
    let mut parts = request(peer, "a", &[]);
    (parts.version, parts.uri) = (Version::HTTP_2, "https://b/".parse().unwrap());
    assert_eq!(refused(parts), RefusalKind::HostMismatch);
}

#[test]
fn an_exempt_path_passes_without_any_claim() {
    let spoofed = [("x-forwarded-for", "6.6.6.6"), ("x_real_ip", "6.6.6.6")];
    for layer in [SetForwardedLayer::edge(), SetForwardedLayer::appending()] {
        let headers = tell(layer.exempt_path("/page"), request(None, "a", &spoofed)).unwrap();
        assert_eq!(headers.keys().collect::<Vec<_>>(), [header::HOST]);
    }
}

/// The element at the right end, read from the left: for lists without a quote left open.
fn last_element(list: &str) -> Vec<(String, String)> {
    let (mut pairs, mut text, mut is_quoted) = (Vec::new(), String::new(), false);
    for char in list.chars().chain([';']) {
        match char {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => (pairs, text) = (Vec::new(), String::new()),
            ';' if !is_quoted => {
                let (name, value) = text.trim().split_once('=').unwrap();
                pairs.push((name.into(), value.into()));
                text.clear();
            }
            char => text.push(char),
        }
    }
    pairs
}

fn peer() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(IpAddr::V4),
        any::<std::net::Ipv6Addr>().prop_map(IpAddr::V6)
    ];
    (ip, any::<u16>())
        .prop_map(|(ip, port)| SocketAddr::new(ip, port))
        .prop_filter("no peer has it", |peer| !peer.ip().to_canonical().is_unspecified())
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z][a-z0-9-]{0,8}(\\.[a-z]{2,5}){0,3}\\.?(:[1-9][0-9]{0,3})?",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        (any::<std::net::Ipv6Addr>(), 1_u16..).prop_map(|(ip, port)| format!("[{ip}]:{port}")),
    ]
}

fn scheme() -> impl Strategy<Value = Scheme> {
    prop_oneof![Just(Scheme::Http), Just(Scheme::Https)]
}

fn client_lines() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        prop::sample::select(name::FORWARDING).prop_map(String::from),
        prop::sample::select(name::FORWARDING).prop_map(|name| name.replace('-', "_")),
    ];
    prop::collection::vec((name, "[ -~]{0,20}"), 0..6)
}

proptest! {
    #[test]
    fn the_reader_reads_what_an_edge_writes(
        peer in peer(),
        host in host(),
        scheme in scheme(),
        port in prop::option::of(1_u16..),
        tells_port: bool,
        lines in client_lines(),
    ) {
        let mut layer = SetForwardedLayer::edge().listener_scheme(scheme).prefix(PathPrefix::from_static("/a"));
        let mut claims = Claims::none().scheme(Told::Set).host(Told::Set).prefix(Told::Set);
        if let Some(port) = port {
            (layer, claims) = (layer.listener_port(port), claims.port(Told::Set));
        }
        if tells_port {
            layer = layer.client_port();
        }
        let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let headers = tell(layer, request(Some(peer.into()), &host, &lines)).unwrap();
        let reader = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback()).claims(claims);
        let proxied = reader.resolve(Some(&LOOPBACK), &headers).unwrap();
        let is_loopback = peer.ip().to_canonical().is_loopback();
        prop_assert_eq!(
            proxied.outcome(),
            if is_loopback { Outcome::AllTrusted } else { Outcome::Resolved }
        );
        prop_assert_eq!(proxied.client(), Some(peer.ip().to_canonical()));
        prop_assert_eq!(proxied.client_port(), tells_port.then_some(peer.port()));
        prop_assert_eq!(proxied.scheme(), Some(scheme));
        prop_assert_eq!(proxied.host().cloned(), HostPort::parse(host.as_bytes()).map(HostPort::into_owned));
        prop_assert_eq!(proxied.port(), port);
        prop_assert_eq!(proxied.prefix().unwrap().as_str(), "/a");
    }

    /// What a client says about forwarding changes nothing behind an edge.
    #[test]
    fn non_interference(lines in client_lines(), is_rfc_7239: bool) {
        let layer =
            || if is_rfc_7239 { SetForwardedLayer::forwarded_edge() } else { SetForwardedLayer::edge() };
        let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        prop_assert_eq!(
            tell(layer(), request(Some(LOOPBACK), "a", &lines)).unwrap(),
            tell(layer(), request(Some(LOOPBACK), "a", &[])).unwrap()
        );
    }

    /// Two hops, and any list from a client: the reader walks over the second hop's element to the first's.
    #[test]
    fn the_reader_walks_over_appended_elements(peer in peer(), host in host(), list in "[ -~]{0,20}") {
        prop_assume!(!peer.ip().to_canonical().is_loopback());
        let spoofed = [("x-forwarded-for", list.as_str()), ("x-forwarded-proto", list.as_str())];
        let mut parts = request(Some(peer.into()), &host, &spoofed);
        let hop = SetForwardedLayer::appending().listener_scheme(Scheme::Https).config.unwrap();
        hop.on_request(&mut parts).unwrap();
        parts.extensions.insert(LOOPBACK);
        SetForwardedLayer::appending().config.unwrap().on_request(&mut parts).unwrap();
        let reader = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback())
            .claims(Claims::none().scheme(Told::Appended).host(Told::Appended));
        let proxied = reader.resolve(Some(&LOOPBACK), &parts.headers).unwrap();
        prop_assert_eq!(proxied.client(), Some(peer.ip().to_canonical()));
        prop_assert_eq!((proxied.trusted_hops(), proxied.scheme()), (2, Some(Scheme::Https)));
        prop_assert_eq!(proxied.host().cloned(), HostPort::parse(host.as_bytes()).map(HostPort::into_owned));
    }

    #[test]
    fn a_forwarded_element_reads_as_it_was_meant(
        peer in peer(),
        host in host(),
        scheme in scheme(),
        list in "[ -~]{0,20}",
    ) {
        let layer = SetForwardedLayer::forwarded_appending().listener_scheme(scheme).client_port();
        let headers = tell(layer, request(Some(peer.into()), &host, &[("forwarded", &list)])).unwrap();
        let line = std::str::from_utf8(headers[header::FORWARDED].as_bytes()).unwrap();
        let own = &line[line.rfind("for=").unwrap()..];
        let node = SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string();
        let host = HostPort::parse(host.as_bytes()).unwrap().to_string();
        let expected = [("for", node), ("host", host), ("proto", scheme.to_string())];
        prop_assert_eq!(last_element(own), expected.map(|(name, value)| (name.into(), value)).to_vec());
        prop_assert!(quotes_close(line.as_bytes()));
    }
}

/// A hop that takes nothing off has a value, too: the reader aligns values with hops.
#[test]
fn prefixes_of_a_chain_stay_aligned() {
    let prefixed = |layer: SetForwardedLayer, prefix| layer.prefix(PathPrefix::from_static(prefix));
    let stranger = PeerAddr::Tcp(([203, 0, 113, 5], 1).into());
    let outer = tell(prefixed(SetForwardedLayer::edge(), "/"), request(Some(stranger), "shop.example", &[]));
    let mut parts = request(Some(LOOPBACK), "shop.example", &[]);
    parts.headers.extend(outer.unwrap().into_iter().filter_map(|(name, value)| Some((name?, value))));
    parts.headers.insert(header::HOST, "shop.example".parse().unwrap());
    let both = tell(prefixed(SetForwardedLayer::appending(), "/app"), parts).unwrap();
    let reader = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback())
        .claims(Claims::none().prefix(Told::Appended));
    let proxied = reader.resolve(Some(&LOOPBACK), &both).unwrap();
    assert_eq!((proxied.outcome(), proxied.client()), (Outcome::Resolved, Some([203, 0, 113, 5].into())));
    assert_eq!(proxied.prefix().unwrap().as_str(), "/app");
}
