//! What proxies write.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tower_proxied::TrustedProxies;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    XForwardedFor,
    Forwarded,
}

/// The lines of a source from the element that names the client on.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    pub(crate) lines: Vec<Vec<u8>>,
    /// `None` is hidden.
    pub(crate) client: Option<IpAddr>,
    /// The peer, and each element right of the client.
    pub(crate) hops: usize,
}

pub(crate) fn trusted() -> TrustedProxies {
    TrustedProxies::parse(["10.0.0.0/8", "fd00::/64"]).unwrap()
}

pub(crate) fn a_proxy() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<[u8; 3]>().prop_map(|[b, c, d]| Ipv4Addr::new(10, b, c, d));
    prop_oneof![
        3 => v4.clone().prop_map(IpAddr::V4),
        1 => v4.prop_map(|address| IpAddr::V6(address.to_ipv6_mapped())),
        1 => any::<u64>().prop_map(|bits| IpAddr::V6(((0xfd00_u128 << 112) | u128::from(bits)).into())),
    ]
}

pub(crate) fn untrusted() -> impl Strategy<Value = IpAddr> {
    address().prop_filter("a proxy's, or nobody's", |address| {
        !trusted().contains(*address) && !address.to_canonical().is_unspecified()
    })
}

pub(crate) fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::V4),
        any::<Ipv6Addr>().prop_map(IpAddr::V6),
        any::<Ipv4Addr>().prop_map(|address| IpAddr::V6(address.to_ipv6_mapped())),
    ]
}

pub(crate) fn tail(kind: Kind) -> impl Strategy<Value = Tail> {
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
pub(crate) fn element(kind: Kind, address: Option<IpAddr>) -> BoxedStrategy<String> {
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

pub(crate) fn node(address: Option<IpAddr>, needs_brackets: bool) -> impl Strategy<Value = String> {
    let hidden = select(&["unknown", "_hidden", "_a.b-c", "UNKNOWN"][..]).prop_map(String::from);
    let Some(address) = address else { return hidden.boxed() };
    let with_port = any::<u16>().prop_map(move |port| SocketAddr::new(address, port).to_string());
    let bracketed = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    let alone = if needs_brackets { bracketed.clone() } else { address.to_string() };
    prop_oneof![Just(alone), Just(bracketed), with_port].boxed()
}

/// All parameters but `for`, each at most once.
pub(crate) fn others() -> impl Strategy<Value = Vec<(String, String)>> {
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
pub(crate) fn value(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
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
pub(crate) fn pairs(pairs: Vec<(String, String)>) -> impl Strategy<Value = String> {
    (Just(pairs).prop_shuffle(), any::<bool>(), select(&[";", "; ", " ;\t", ";;"][..])).prop_map(
        |(pairs, is_upper, separator)| {
            let name = |name: String| if is_upper { name.to_ascii_uppercase() } else { name };
            // An element of no pairs would be none.
            let pairs: Vec<_> = pairs.into_iter().map(|(own, value)| name(own) + "=" + &value).collect();
            if pairs.is_empty() { String::from("x=1") } else { pairs.join(separator) }
        },
    )
}

pub(crate) fn well_formed_line() -> impl Strategy<Value = String> {
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
