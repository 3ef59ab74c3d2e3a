//! What must hold for all inputs: 1,024 of them each time, 100,000 with `--ignored`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header, request};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tower_proxied::forwarded_for::{Claims, Outcome, Proxied, Written};
use tower_proxied::front::SetForwardedLayer;
use tower_proxied::wire::forwarded::{ForwardedElement, Value, from_right};
use tower_proxied::wire::host::HostPort;
use tower_proxied::wire::name::FORWARDING;
use tower_proxied::{ForwardedForLayer, PathPrefix, PeerAddr, Scheme, TrustedProxies};

use self::inner::{Refused, inner};
use self::reference::{Said, read_forwarded};

#[path = "../fuzz/checks/inner.rs"]
mod inner;
#[path = "../fuzz/checks/reference.rs"]
mod reference;

macro_rules! laws {
    ($($(#[$doc:meta])* fn $law:ident($($value:ident in $strategy:expr),+ $(,)?) $body:block)+) => {$(
        $(#[$doc])*
        mod $law {
            use super::*;

            #[test]
            fn holds() {
                hold(1_024);
            }

            #[test]
            #[ignore = "takes minutes without optimisation"]
            fn holds_a_hundred_thousand_times() {
                hold(100_000);
            }

            fn hold(cases: u32) {
                let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
                proptest!(config, |($($value in $strategy),+)| $body);
            }
        }
    )+};
}

laws! {
    /// `resolve(P + tail) == resolve(tail)`.
    fn nothing_left_of_the_tail_of_x_forwarded_for_changes_what_is_resolved(
        tail in tail(Kind::XForwardedFor), added in added(),
    ) {
        let layer = ForwardedForLayer::x_forwarded_for(trusted());
        resolves_alike(&layer, &HeaderName::from_static("x-forwarded-for"), &tail, &added)?;
    }

    /// `resolve(P + tail) == resolve(tail)`.
    fn nothing_left_of_the_tail_of_forwarded_changes_what_is_resolved(
        tail in tail(Kind::Forwarded), added in added(),
    ) {
        let layer = ForwardedForLayer::forwarded(trusted());
        resolves_alike(&layer, &header::FORWARDED, &tail, &added)?;
    }

    fn nothing_a_client_adds_to_x_forwarded_for_or_to_claims_changes_the_inner_request(
        tail in tail(Kind::XForwardedFor), walk in walk(), claims in claims(), added in added(),
        client_lines in client_lines(),
    ) {
        let layer = walk.of(ForwardedForLayer::x_forwarded_for(trusted()), &tail).claims(claims.declared());
        let mut fields = vec![Field::appended("x-forwarded-for", tail.lines.clone())];
        fields.extend(claims.fields(tail.hops));
        same_inner_request(&layer, walk.peer(), &fields, &added, &client_lines)?;
    }

    fn nothing_a_client_adds_to_forwarded_changes_the_inner_request(
        tail in tail(Kind::Forwarded), walk in walk(), claims in claims(), added in added(),
        client_lines in client_lines(),
    ) {
        // Claims of other fields are never read, declared or not.
        let layer = walk.of(ForwardedForLayer::forwarded(trusted()), &tail).claims(claims.declared());
        let fields = [Field::appended("forwarded", tail.lines.clone())];
        same_inner_request(&layer, walk.peer(), &fields, &added, &client_lines)?;
    }

    fn nothing_a_stranger_adds_changes_the_inner_request(
        stranger in untrusted(), claims in claims(), client_lines in client_lines(), source in 0..4_usize,
    ) {
        let layer = [
            ForwardedForLayer::x_forwarded_for(trusted()),
            ForwardedForLayer::forwarded(trusted()),
            ForwardedForLayer::single(HeaderName::from_static("x-custom-ip"), trusted()),
            ForwardedForLayer::cloudfront(trusted()),
        ][source].clone().claims(claims.declared());
        let mut client_lines = client_lines;
        if source == 2 {
            client_lines.push(("x-custom-ip".into(), b"6.6.6.6".to_vec()));
            client_lines.push(("X_Custom.Ip".into(), b"6.6.6.6".to_vec()));
        }
        let peer = PeerAddr::Tcp(SocketAddr::new(stranger, 4711));
        same_inner_request(&layer, peer, &[], &[], &client_lines)?;
    }

    fn well_formed_lines_of_forwarded_read_from_the_right_as_from_the_left(
        lines in vec(well_formed_line(), 1..4),
    ) {
        let mut naive = Vec::new();
        for line in &lines {
            let elements = read_forwarded(line.as_bytes());
            prop_assert!(elements.is_some(), "not well-formed: {}", line);
            naive.extend(elements.unwrap());
        }
        naive.reverse();
        let read: Vec<_> = from_right(lines.iter().map(String::as_bytes))
            .map(|element| (element.bytes, ForwardedElement::parse(element.bytes).as_ref().map(said)))
            .collect();
        let naive: Vec<_> = naive.into_iter().map(|(bytes, said)| (bytes, Some(said))).collect();
        prop_assert_eq!(read, naive);
    }

    fn the_reader_reads_what_a_chain_of_writers_means(
        chain in chain(), client_lines in client_lines(), added in added(),
    ) {
        let sent = client_headers(&client_lines, &["x-forwarded-for", "forwarded"], &added);
        let read = chain.read(sent);
        let alone = chain.read(HeaderMap::new());
        prop_assert!(read.is_ok(), "{:?}", read);
        let (headers, proxied) = read.unwrap();
        let first = &chain.hops[0];
        let is_x = chain.kind == Kind::XForwardedFor;
        prop_assert_eq!(proxied.outcome(), Outcome::Resolved);
        prop_assert_eq!(proxied.client(), Some(chain.client.ip().to_canonical()));
        prop_assert_eq!(proxied.client_port(), chain.tells_client_port.then_some(chain.client.port()));
        prop_assert_eq!(proxied.trusted_hops(), chain.hops.len());
        prop_assert_eq!(proxied.scheme(), Some(first.scheme));
        prop_assert_eq!(
            proxied.host().cloned(),
            HostPort::parse(first.host.as_bytes()).map(HostPort::into_owned)
        );
        prop_assert_eq!(proxied.port(), is_x.then_some(first.listener_port));
        let prefix: String = chain.hops.iter().map(|hop| hop.prefix.as_str()).collect();
        prop_assert_eq!(proxied.prefix().map(PathPrefix::as_str), is_x.then_some(&prefix[..]));
        prop_assert_eq!(Ok((headers, proxied)), alone);
    }

    fn a_set_of_proxies_is_a_scan_of_its_networks(
        parts in vec(vec(network(), 0..12), 0..4), presets in any::<[bool; 3]>(), as_text in any::<bool>(), any_address in address(),
        chosen in any::<Index>(),
    ) {
        let mut set = TrustedProxies::none();
        for networks in &parts {
            set = set | if as_text {
                TrustedProxies::parse(networks.iter().map(IpNet::to_string)).unwrap()
            } else {
                TrustedProxies::from_networks(networks.iter().copied()).unwrap()
            };
        }
        let [loopback, private, unix] = presets;
        let mut networks = parts.concat();
        let preset = |is_on: bool, preset: TrustedProxies, networks: &[&str]| -> (TrustedProxies, Vec<IpNet>) {
            if !is_on {
                return (TrustedProxies::none(), Vec::new());
            }
            (preset, networks.iter().map(|network| network.parse().unwrap()).collect())
        };
        for (preset, of_preset) in [
            preset(loopback, TrustedProxies::loopback(), &["127.0.0.0/8", "::1/128"]),
            preset(private, TrustedProxies::private(), &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]),
            preset(unix, TrustedProxies::unix(), &[]),
        ] {
            set = preset | set;
            networks.extend(of_preset);
        }
        let mut addresses = vec![any_address];
        if !networks.is_empty() {
            addresses.extend(around(chosen.get(&networks)));
        }
        addresses.extend(addresses.clone().into_iter().filter_map(other_form));
        for address in addresses {
            let naive = networks.iter().any(|network| {
                network.contains(&address) || other_form(address).is_some_and(|other| network.contains(&other))
            });
            prop_assert_eq!(set.contains(address), naive, "{} in {:?}", address, networks);
            prop_assert_eq!(set.trusts(Some(&PeerAddr::Tcp(SocketAddr::new(address, 1)))), naive);
        }
        prop_assert_eq!(set.trusts(Some(&PeerAddr::Unix)), unix);
        prop_assert!(!set.trusts(None));
        prop_assert_eq!(set.is_none(), networks.is_empty() && !unix);
    }
}

// What proxies write.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    XForwardedFor,
    Forwarded,
}

/// The lines of a source from the element that names the client on.
#[derive(Clone, Debug)]
struct Tail {
    lines: Vec<Vec<u8>>,
    /// `None` is hidden.
    client: Option<IpAddr>,
    /// The peer, and each element right of the client.
    hops: usize,
}

fn trusted() -> TrustedProxies {
    TrustedProxies::parse(["10.0.0.0/8", "fd00::/64"]).unwrap()
}

fn a_proxy() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<[u8; 3]>().prop_map(|[b, c, d]| Ipv4Addr::new(10, b, c, d));
    prop_oneof![
        3 => v4.clone().prop_map(IpAddr::V4),
        1 => v4.prop_map(|address| IpAddr::V6(address.to_ipv6_mapped())),
        1 => any::<u64>().prop_map(|bits| IpAddr::V6(((0xfd00_u128 << 112) | u128::from(bits)).into())),
    ]
}

fn untrusted() -> impl Strategy<Value = IpAddr> {
    address().prop_filter("a proxy's, or nobody's", |address| {
        !trusted().contains(*address) && !address.to_canonical().is_unspecified()
    })
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::V4),
        any::<Ipv6Addr>().prop_map(IpAddr::V6),
        any::<Ipv4Addr>().prop_map(|address| IpAddr::V6(address.to_ipv6_mapped())),
    ]
}

fn tail(kind: Kind) -> impl Strategy<Value = Tail> {
    let client = option::weighted(0.9, untrusted());
    let client =
        client.prop_flat_map(move |client| element(kind, client).prop_map(move |text| (text, client)));
    let hop = a_proxy().prop_flat_map(move |proxy| element(kind, Some(proxy)));
    let separator = || select(&[", ", ",", " ,\t", "\n", ",,", ", ,"][..]);
    (client, vec((separator(), hop), 0..6), select(&["", " ", ", ", "\n"][..])).prop_map(
        |((text, client), hops, end)| {
            let position = hops.len() + 1;
            let text = hops.into_iter().fold(text, |list, (separator, hop)| list + separator + &hop) + end;
            Tail {
                lines: text.split('\n').map(|line| line.as_bytes().to_vec()).collect(),
                client,
                hops: position,
            }
        },
    )
}

/// Says who the client is, or hides it.
fn element(kind: Kind, address: Option<IpAddr>) -> BoxedStrategy<String> {
    match kind {
        Kind::XForwardedFor => node(address, false).boxed(),
        Kind::Forwarded => {
            let hidden = if address.is_none() { 0.5 } else { 0.0 };
            let node = node(address, true)
                .prop_flat_map(|text| value(Just(text)))
                .prop_map(|value| (String::from("for"), value));
            let node = (node, prop::bool::weighted(hidden))
                .prop_map(|(node, is_left_out)| (!is_left_out).then_some(node));
            (node, others())
                .prop_flat_map(|(node, others)| pairs(node.into_iter().chain(others).collect()))
                .boxed()
        }
    }
}

fn node(address: Option<IpAddr>, needs_brackets: bool) -> impl Strategy<Value = String> {
    let hidden = select(&["unknown", "_hidden", "_a.b-c", "UNKNOWN"][..]).prop_map(String::from);
    let Some(address) = address else { return hidden.boxed() };
    let with_port = any::<u16>().prop_map(move |port| SocketAddr::new(address, port).to_string());
    let bracketed = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    let alone = if needs_brackets { bracketed.clone() } else { address.to_string() };
    prop_oneof![Just(alone), Just(bracketed), with_port].boxed()
}

/// All parameters but `for`, each at most once.
fn others() -> impl Strategy<Value = Vec<(String, String)>> {
    let host = prop_oneof![
        select(&["a,for=6.6.6.6;x=", "shop.example:8443", "\"", "\\", "a\",for=\"6.6.6.6", ""][..])
            .prop_map(String::from),
        "[ -~]{0,12}",
    ];
    let host = value(host).prop_map(|value| (String::from("host"), value));
    let proto = value(select(&["http", "https", "WSS", "gopher"][..]).prop_map(String::from));
    let proto = proto.prop_map(|value| (String::from("proto"), value));
    let by = value("[ -~]{1,6}").prop_map(|value| (String::from("by"), value));
    let other = ("x[a-z]{0,3}", value("[ -~]{0,6}"));
    (option::of(host), option::of(proto), option::of(by), option::of(other))
        .prop_map(|(host, proto, by, other)| [host, proto, by, other].into_iter().flatten().collect())
}

/// A token where that is possible and chance wants it, else a quoted string, with more escapes than needed.
fn value(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (text, any::<bool>(), any::<u32>()).prop_map(|(text, wants_quotes, escapes)| {
        let is_plain = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:[]".contains(char);
        if !wants_quotes && !text.is_empty() && text.chars().all(is_plain) {
            return text;
        }
        let escape = |(at, char): (usize, char)| {
            let is_escaped = "\"\\".contains(char) || escapes.rotate_left(at as u32) % 8 == 0;
            is_escaped.then_some('\\').into_iter().chain([char])
        };
        format!("\"{}\"", text.chars().enumerate().flat_map(escape).collect::<String>())
    })
}

/// Pairs in any order, with names in any case and blanks around `;`.
fn pairs(pairs: Vec<(String, String)>) -> impl Strategy<Value = String> {
    (Just(pairs).prop_shuffle(), any::<bool>(), select(&[";", "; ", " ;\t", ";;"][..])).prop_map(
        |(pairs, is_upper, separator)| {
            let name = |name: String| if is_upper { name.to_ascii_uppercase() } else { name };
            // An element of no pairs would be none.
            let pairs: Vec<_> = pairs.into_iter().map(|(own, value)| name(own) + "=" + &value).collect();
            if pairs.is_empty() { String::from("x=1") } else { pairs.join(separator) }
        },
    )
}

fn well_formed_line() -> impl Strategy<Value = String> {
    let element = prop_oneof![
        5 => option::of(address()).prop_flat_map(|address| element(Kind::Forwarded, address)),
        1 => select(&["", " ", ";", "x=\"\""][..]).prop_map(String::from),
    ];
    let separator = select(&[",", ", ", " ,\t"][..]);
    vec((element, separator), 0..6)
        .prop_map(|elements| elements.into_iter().map(|(element, separator)| element + separator).collect())
        .prop_flat_map(|line: String| {
            any::<bool>().prop_map(move |ends| line.clone() + if ends { "for=_a" } else { "" })
        })
}

fn said(element: &ForwardedElement<'_>) -> Said {
    let text = |value: Option<Value<'_>>| value.map(|value| value.text(&mut [0; 64]).unwrap().to_vec());
    Said { node: text(element.node()), host: text(element.host()), proto: text(element.proto()) }
}

// What clients write.

fn added() -> impl Strategy<Value = Vec<u8>> {
    let structure = [",", ";", "\"", "\\", "\\\"", "=", " ", "\t", ", "].to_vec();
    let word = [
        "6.6.6.6",
        "10.0.0.7",
        "[fd00::7]:1",
        "unknown",
        "_x",
        "for=",
        "for=6.6.6.6",
        "host=\"",
        "for=\"10.0.0.7",
        "proto=https",
        "/evil",
        "localhost",
    ]
    .to_vec();
    let piece = prop_oneof![
        3 => select(structure).prop_map(|text| text.as_bytes().to_vec()),
        2 => select(word).prop_map(|text| text.as_bytes().to_vec()),
        2 => prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8].prop_map(|byte| vec![byte]),
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

/// Lines of forwarding headers, in any spelling.
fn client_lines() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let known = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
    ];
    let name =
        (prop_oneof![select(FORWARDING), select(known.to_vec())], select(&["-", "-", "_", ".", "~"][..]));
    vec((name.prop_map(|(name, hyphen)| name.replace('-', hyphen)), added()), 0..8)
}

/// Lines of the client, the first ones of the given names.
fn client_headers(lines: &[(String, Vec<u8>)], names: &[&str], value: &[u8]) -> HeaderMap {
    let own = names.iter().map(|name| (String::from(*name), value.to_vec()));
    own.chain(lines.iter().cloned())
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(&value).unwrap()))
        .collect()
}

// Law (a) and (b).

/// As own line before the tail, and in the same line.
fn resolves_alike(
    layer: &ForwardedForLayer,
    name: &HeaderName,
    tail: &Tail,
    added: &[u8],
) -> Result<(), TestCaseError> {
    let peer = PeerAddr::Tcp("10.0.0.1:4711".parse().unwrap());
    let resolve = |lines: &[Vec<u8>]| {
        let line = |line: &Vec<u8>| (name.clone(), HeaderValue::from_bytes(line).unwrap());
        layer.resolve(Some(&peer), &lines.iter().map(line).collect()).unwrap()
    };
    let alone = resolve(&tail.lines);
    prop_assert_eq!(alone.client(), tail.client.map(|client| client.to_canonical()));
    prop_assert_eq!(alone.trusted_hops(), tail.hops);
    let own_line = [&[added.to_vec()], &tail.lines[..]].concat();
    prop_assert_eq!(resolve(&own_line), alone.clone());
    let mut same_line = tail.lines.clone();
    same_line[0] = [added, b",", &tail.lines[0]].concat();
    prop_assert_eq!(resolve(&same_line), alone.clone());
    same_line.insert(0, added.to_vec());
    prop_assert_eq!(resolve(&same_line), alone);
    Ok(())
}

/// How the layer finds the client.
#[derive(Clone, Copy, Debug)]
enum Walk {
    BySet,
    ByCount,
    ByCountUnchecked,
}

fn walk() -> impl Strategy<Value = Walk> {
    select(&[Walk::BySet, Walk::ByCount, Walk::ByCountUnchecked][..])
}

impl Walk {
    fn of(self, layer: ForwardedForLayer, tail: &Tail) -> ForwardedForLayer {
        match self {
            Self::BySet => layer,
            Self::ByCount => layer.hops(tail.hops),
            Self::ByCountUnchecked => layer.unchecked_hops(tail.hops),
        }
    }

    fn peer(self) -> PeerAddr {
        match self {
            Self::BySet | Self::ByCount => PeerAddr::Tcp("10.0.0.1:4711".parse().unwrap()),
            Self::ByCountUnchecked => PeerAddr::Unix,
        }
    }
}

/// What the proxies write into a field.
#[derive(Clone, Debug)]
struct Field {
    name: &'static str,
    lines: Vec<Vec<u8>>,
    /// The client's own lines are replaced.
    is_set: bool,
}

impl Field {
    fn appended(name: &'static str, lines: Vec<Vec<u8>>) -> Self {
        Self { name, lines, is_set: false }
    }
}

/// How scheme, host, port and prefix are written, and the values of the hops, outermost first.
#[derive(Clone, Debug)]
struct Told {
    written: [Option<(Written, bool)>; 4],
    values: Vec<[String; 4]>,
}

fn claims() -> impl Strategy<Value = Told> {
    let written = select(&[Written::Set, Written::Appended, Written::AppendedByNearest][..]);
    let value = [
        select(&["http", "https", "wss", "gopher"][..]),
        select(&["shop.example", "[::1]:8443", "SHOP.example:1", "no host"][..]),
        select(&["80", "8443", "0"][..]),
        select(&["/webapps", "/a/b", "/"][..]),
    ]
    .map(|value| value.prop_map(String::from));
    let written = || option::weighted(0.8, (written.clone(), any::<bool>()));
    ([written(), written(), written(), written()], vec(value, 7))
        .prop_map(|(written, values)| Told { written, values })
}

impl Told {
    fn declared(&self) -> Claims {
        let [scheme, host, port, prefix] = self.written.map(|written| {
            written
                .map(|(written, is_optional)| if is_optional { written.optional() } else { written.into() })
        });
        let claims = Claims::none();
        let claims = scheme.map_or(claims, |declared| claims.scheme(declared));
        let claims = host.map_or(claims, |declared| claims.host(declared));
        let claims = port.map_or(claims, |declared| claims.port(declared));
        prefix.map_or(claims, |declared| claims.prefix(declared))
    }

    fn fields(&self, hops: usize) -> impl Iterator<Item = Field> {
        const NAMES: [&str; 4] =
            ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"];
        NAMES.into_iter().enumerate().filter_map(move |(at, name)| {
            let (written, _) = self.written[at]?;
            let count = if written == Written::Appended { hops } else { 1 };
            let lines = self.values[..count].iter().map(|values| values[at].clone().into_bytes()).collect();
            Some(Field { name, lines, is_set: written == Written::Set })
        })
    }
}

/// The client's bytes as own lines before those of the proxies, and in the same lines.
fn same_inner_request(
    layer: &ForwardedForLayer,
    peer: PeerAddr,
    fields: &[Field],
    added: &[u8],
    client_lines: &[(String, Vec<u8>)],
) -> Result<(), TestCaseError> {
    let headers = |lines: &[(String, Vec<u8>)], same_line: Option<&[u8]>| {
        let mut headers = client_headers(lines, &[], b"");
        for field in fields {
            let name = HeaderName::from_static(field.name);
            if field.is_set {
                headers.remove(&name);
            }
            for (at, line) in field.lines.iter().enumerate() {
                let line = match same_line {
                    Some(added) if at == 0 && !field.is_set => [added, b",", line].concat(),
                    _ => line.clone(),
                };
                headers.append(&name, HeaderValue::from_bytes(&line).unwrap());
            }
        }
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers
    };
    let seen = |headers| inner(layer, peer, headers).map(seen);
    let without = seen(headers(&[], None));
    prop_assert!(without.is_ok(), "{:?}", without);
    prop_assert_eq!(seen(headers(client_lines, None)), without.clone());
    prop_assert_eq!(seen(headers(&[], Some(added))), without.clone());
    prop_assert_eq!(seen(headers(client_lines, Some(added))), without.clone());
    if let Ok((_, proxied)) = without {
        prop_assert_eq!(layer.resolve(Some(&peer), &headers(client_lines, Some(added))), Some(proxied));
    }
    Ok(())
}

/// All that a layer of ours may touch in a request without a target of interest.
fn seen(mut parts: request::Parts) -> (HeaderMap, Proxied) {
    let proxied = parts.extensions.remove::<Proxied>().expect("the layer puts it there");
    assert!(parts.extensions.remove::<PeerAddr>().is_some());
    assert!(parts.extensions.is_empty(), "nothing else is left");
    (parts.headers, proxied)
}

// A chain of writers.

#[derive(Clone, Debug)]
struct Chain {
    kind: Kind,
    is_first_an_edge: bool,
    tells_client_port: bool,
    client: SocketAddr,
    hops: Vec<Hop>,
}

/// A proxy of ours: where it speaks from, and what it is asked for.
#[derive(Clone, Debug)]
struct Hop {
    address: IpAddr,
    host: String,
    scheme: Scheme,
    listener_port: u16,
    prefix: PathPrefix,
}

fn chain() -> impl Strategy<Value = Chain> {
    let host = prop_oneof![
        "[a-zA-Z][a-z0-9-]{0,8}(\\.[a-z]{2,5}){0,3}\\.?(:[1-9][0-9]{0,3})?",
        any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
        (any::<Ipv6Addr>(), 1_u16..).prop_map(|(ip, port)| format!("[{ip}]:{port}")),
    ];
    let prefix = "(/[a-z0-9.~-]{0,3}[a-z]){1,3}".prop_map(|text| PathPrefix::parse(&text).unwrap());
    let scheme = select(&[Scheme::Http, Scheme::Https][..]);
    let hop = (a_proxy(), host, scheme, 1_u16.., prefix).prop_map(
        |(address, host, scheme, listener_port, prefix)| Hop { address, host, scheme, listener_port, prefix },
    );
    let client = (untrusted(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port));
    (select(&[Kind::XForwardedFor, Kind::Forwarded][..]), any::<[bool; 2]>(), client, vec(hop, 1..5))
        .prop_map(|(kind, [is_first_an_edge, tells_client_port], client, hops)| Chain {
            kind,
            is_first_an_edge,
            tells_client_port,
            client,
            hops,
        })
}

impl Chain {
    /// Through all hops to the application.
    fn read(&self, sent: HeaderMap) -> Result<(HeaderMap, Proxied), Refused> {
        let mut peer = PeerAddr::Tcp(self.client);
        let mut headers = sent;
        for (at, hop) in self.hops.iter().enumerate() {
            let layer = match (self.kind, self.is_first_an_edge && at == 0) {
                (Kind::XForwardedFor, true) => SetForwardedLayer::edge(),
                (Kind::XForwardedFor, false) => SetForwardedLayer::appending(),
                (Kind::Forwarded, true) => SetForwardedLayer::forwarded_edge(),
                (Kind::Forwarded, false) => SetForwardedLayer::forwarded_appending(),
            };
            let layer =
                layer.listener_scheme(hop.scheme).listener_port(hop.listener_port).prefix(hop.prefix.clone());
            let layer = if self.tells_client_port { layer.client_port() } else { layer };
            headers.insert(header::HOST, HeaderValue::from_str(&hop.host).unwrap());
            headers = inner(&layer, peer, headers)?.headers;
            peer = PeerAddr::Tcp(SocketAddr::new(hop.address, 4711));
        }
        headers.remove(header::HOST);
        let reader = match self.kind {
            Kind::XForwardedFor => ForwardedForLayer::x_forwarded_for(trusted()).claims(self.claims()),
            Kind::Forwarded => ForwardedForLayer::forwarded(trusted()),
        };
        inner(&reader, peer, headers).map(seen)
    }

    fn claims(&self) -> Claims {
        // An edge alone writes each field anew.
        let is_set = self.is_first_an_edge && self.hops.len() == 1;
        let written = if is_set { Written::Set } else { Written::Appended };
        Claims::none().scheme(written).host(written).port(written).prefix(written)
    }
}

// Networks.

fn network() -> impl Strategy<Value = IpNet> {
    let v4 = |bits, length| Ipv4Net::new(Ipv4Addr::from(bits), length).unwrap().trunc();
    let v6 = |bits, length| Ipv6Net::new(Ipv6Addr::from(bits), length).unwrap().trunc();
    prop_oneof![
        (any::<u32>(), 1..=32_u8).prop_map(move |(bits, length)| v4(bits, length).into()),
        // Neighbours, and networks in networks.
        (0..1024_u32, 22..=32_u8).prop_map(move |(bits, length)| v4((10 << 24) + bits, length).into()),
        (0..1024_u128, 118..=128_u8).prop_map(move |(bits, length)| v6((0xfd << 120) + bits, length).into()),
        // The upper half has no IPv4-mapped addresses in it: a network that holds them all is refused.
        (any::<u128>(), 1..=128_u8).prop_map(move |(bits, length)| v6(bits | (1 << 127), length).into()),
        (any::<u32>(), 97..=128_u8).prop_map(move |(bits, length)| v6(
            Ipv4Addr::from(bits).to_ipv6_mapped().into(),
            length
        )
        .into()),
    ]
}

/// The ends of a network, and the addresses beside it.
fn around(network: &IpNet) -> Vec<IpAddr> {
    match network {
        IpNet::V4(network) => {
            let (first, last) = (u32::from(network.network()), u32::from(network.broadcast()));
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                .map(|bits| Ipv4Addr::from(bits).into())
                .into()
        }
        IpNet::V6(network) => {
            let (first, last) = (u128::from(network.network()), u128::from(network.broadcast()));
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                .map(|bits| Ipv6Addr::from(bits).into())
                .into()
        }
    }
}

/// IPv4 as IPv4-mapped IPv6, and back.
fn other_form(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(address.to_ipv6_mapped().into()),
        IpAddr::V6(address) => address.to_ipv4_mapped().map(IpAddr::V4),
    }
}
