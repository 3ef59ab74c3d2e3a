//! What must hold for all inputs: 1,024 of them each time, 100,000 with `--ignored`.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header, request};
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tower_proxied::forwarded_for::{Claims, Outcome, Proxied, Written};
use tower_proxied::wire::forwarded::{ForwardedElement, Value, from_right};
use tower_proxied::wire::host::HostPort;
use tower_proxied::{ForwardedForLayer, PathPrefix, PeerAddr, TrustedProxies};

use self::chain::chain;
use self::clients::{added, client_headers, client_lines};
use self::inner::inner;
use self::networks::{around, network, other_form};
use self::proxies::{Kind, Tail, address, tail, trusted, untrusted, well_formed_line};
use self::reference::{Said, read_forwarded};

#[macro_use]
#[path = "common/laws.rs"]
mod laws;

#[path = "forwarded_for_laws/chain.rs"]
mod chain;
#[path = "forwarded_for_laws/clients.rs"]
mod clients;
#[path = "../fuzz/checks/inner.rs"]
mod inner;
#[path = "forwarded_for_laws/networks.rs"]
mod networks;
#[path = "forwarded_for_laws/proxies.rs"]
mod proxies;
#[path = "../fuzz/checks/reference.rs"]
mod reference;

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
                // An empty list is refused as a mistake.
                match &networks[..] {
                    [] => TrustedProxies::none(),
                    networks => TrustedProxies::parse(networks.iter().map(IpNet::to_string)).unwrap(),
                }
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
    Set,
    Count,
    UncheckedCount,
}

fn walk() -> impl Strategy<Value = Walk> {
    select(&[Walk::Set, Walk::Count, Walk::UncheckedCount][..])
}

impl Walk {
    fn of(self, layer: ForwardedForLayer, tail: &Tail) -> ForwardedForLayer {
        match self {
            Self::Set => layer,
            Self::Count => layer.hops(tail.hops),
            Self::UncheckedCount => layer.unchecked_hops(tail.hops),
        }
    }

    fn peer(self) -> PeerAddr {
        match self {
            Self::Set | Self::Count => PeerAddr::Tcp("10.0.0.1:4711".parse().unwrap()),
            Self::UncheckedCount => PeerAddr::Unix,
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

fn said(element: &ForwardedElement<'_>) -> Said {
    let text = |value: Option<Value<'_>>| value.map(|value| value.text(&mut [0; 64]).unwrap().to_vec());
    Said { node: text(element.node()), host: text(element.host()), proto: text(element.proto()) }
}
