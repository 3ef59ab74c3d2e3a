//! What must hold whatever the bytes are: run by the fuzz targets, and by the crate's own tests on all seeds.

mod browser;
mod cookie;
mod inner;
mod prefix;
mod reference;
mod scenario;
mod upgrader;

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tower_proxied::wire::forwarded::{self, ForwardedElement, Value};
use tower_proxied::wire::list::{self, Element};
use tower_proxied::wire::name::FORWARDING;
use tower_proxied::wire::node::Node;
use tower_proxied::{Proxied, PublicUrl};

pub use self::cookie::cookie;
use self::inner::inner;
use self::reference::{Said, read_element, read_forwarded, trim};
use self::scenario::{SCENARIOS, Scenario};
pub use self::upgrader::upgrader;

/// A node reads as the standard library reads addresses, and reads the same once it is printed.
pub fn node(data: &[u8]) {
    let read = Node::parse(data);
    if let Some(Node::Address { ip, port }) = read {
        assert_is_usable(ip);
        assert_eq!(Node::parse(print(ip, port).as_bytes()), read);
    }
    if let Some(node) = Node::parse_with_port(data) {
        let Node::Address { ip, port: Some(port) } = node else { panic!("no port in {node:?}") };
        assert_is_usable(ip);
        assert_eq!(Node::parse_with_port(format!("{ip}:{port}").as_bytes()), Some(node));
        assert_eq!(Node::parse_with_port(SocketAddr::new(ip, port).to_string().as_bytes()), Some(node));
    }
    if !has_odd_zone(data) {
        assert_eq!(read, naive_node(data), "{}", data.escape_ascii());
    }
}

/// Elements from the right are those from the left, reversed, and stand where they say.
pub fn list(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let elements: Vec<_> = list::from_right(lines.iter().copied()).collect();
    let naive: Vec<_> =
        lines.iter().flat_map(|line| line.split(|byte| *byte == b',')).map(trim).rev().collect();
    assert_eq!(elements.iter().map(|element| element.bytes).collect::<Vec<_>>(), naive);
    assert_stand_where_they_say(&elements, &lines);
}

/// Well-formed lines split from the right as from the left, elements read as the reference reads them, and what stands
/// left of a proxy's elements does not change those.
pub fn forwarded(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let elements: Vec<_> = forwarded::from_right(lines.iter().copied()).collect();
    assert_stand_where_they_say(&elements, &lines);
    for element in elements.iter().map(|element| element.bytes).chain(lines.iter().copied()) {
        let read = ForwardedElement::parse(element);
        assert_eq!(read.as_ref().map(said), read_element(element), "{}", element.escape_ascii());
    }
    for line in &lines {
        if let Some(naive) = read_forwarded(line) {
            let elements = forwarded::from_right([*line].into_iter()).map(|element| element.bytes);
            assert!(elements.eq(naive.iter().rev().map(|(bytes, _)| *bytes)), "{}", line.escape_ascii());
        }
        for tail in [
            &br#"for=203.0.113.5;host="a,for=6.6.6.6;x=\"\\", for="[2001:db8::1]:4711""#[..],
            br#"for="_a";host="\",\\""#,
        ] {
            let joined = [line, &b","[..], tail].concat();
            let alone: Vec<_> =
                forwarded::from_right([tail].into_iter()).map(|element| element.bytes).collect();
            let behind = forwarded::from_right([&joined[..]].into_iter()).map(|element| element.bytes);
            assert!(behind.take(alone.len()).eq(alone), "{}", joined.escape_ascii());
        }
    }
}

/// The inner service sees the same request, and so does the pure function, whatever a client adds.
///
/// The first byte chooses the [scenario](SCENARIOS), each line behind it is what the client adds: `+bytes` stands in
/// the same line as what the proxies append, `name: bytes` is a line of its own if the name is one of a forwarding
/// header, and all else is a line of the source itself.
pub fn forwarded_for_layer(data: &[u8]) {
    let Some((chosen, added)) = data.split_first() else { return };
    let scenario = &SCENARIOS[usize::from(*chosen) % SCENARIOS.len()];
    let layer = (scenario.layer)();
    let (attested, with) = (attested(scenario), with(scenario, added));
    let resolve = |headers: &HeaderMap| layer.resolve(Some(&scenario.peer), headers);
    assert_eq!(resolve(&with), resolve(&attested), "{with:?}");
    let see = |headers: HeaderMap| {
        inner(&layer, scenario.peer, headers).map(|parts| {
            let proxied = parts.extensions.get::<Proxied>().expect("the layer puts it there").clone();
            (parts.headers, proxied)
        })
    };
    assert_eq!(see(with), see(attested), "the inner request");
}

/// The paths go in and out as naive twins and browsers have it.
///
/// The first byte chooses the mount, the first line behind it is the target, each further one a line of the response.
pub fn script_name_prefix(data: &[u8]) {
    let Some((chosen, rest)) = data.split_first() else { return };
    let sites = prefix::sites();
    let site = sites[usize::from(chosen & 0x7f) % sites.len()].clone();
    let site = if *chosen < 0x80 { site } else { site.always() };
    let mut lines = rest.strip_prefix(b"\n").unwrap_or(rest).split(|byte| *byte == b'\n');
    let Ok(target) = Uri::try_from(lines.next().unwrap_or_default()) else { return };
    let mut answered = HeaderMap::new();
    for line in lines.take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) {
            answered.append(name, value);
        }
    }
    prefix::holds(&site, &target, &answered);
}

/// What is read as a host is the host that browsers go to.
pub fn host(data: &[u8]) {
    browser::host_is_what_browsers_read(data);
}

/// Links stay below the public URL as browsers read them, and references resolve as RFC 3986 has it.
///
/// The first byte chooses the public URL, the first line behind it is the current path or the base, and all behind it is
/// the reference.
pub fn reference(data: &[u8]) {
    const PUBLIC: [&str; 4] = [
        "https://example.com",
        "https://example.com/app",
        "http://[2001:db8::1]:8080/caf%C3%A9/app",
        "http://127.0.0.1/a/b",
    ];
    let Some((chosen, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (base, reference) = text.split_once('\n').unwrap_or(("/", text));
    let public = PublicUrl::from_static(PUBLIC[usize::from(*chosen) % PUBLIC.len()]);
    browser::link_stays(&public, base, reference);
    browser::resolves_as_the_rfc(&public, base, reference);
}

fn attested(scenario: &Scenario) -> HeaderMap {
    scenario
        .attested
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

/// The client's lines, and then the proxies'.
fn with(scenario: &Scenario, added: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut same_line: &[u8] = b"";
    let added = added.strip_prefix(b"\n").unwrap_or(added);
    for line in added.split(|byte| *byte == b'\n').take(1000) {
        let (name, value) = match line {
            [b'+', bytes @ ..] => {
                same_line = bytes;
                continue;
            }
            line => own_line(line).unwrap_or((HeaderName::from_static(scenario.source), line)),
        };
        let is_overwritten = scenario.overwritten.contains(&name.as_str());
        if let (false, Ok(value)) = (is_overwritten, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let mut is_first = !scenario.overwritten.contains(&scenario.source);
    for (name, value) in scenario.attested {
        let joined = [same_line, b",", value.as_bytes()].concat();
        let value = match HeaderValue::from_bytes(&joined) {
            Ok(joined) if *name == scenario.source && std::mem::take(&mut is_first) => joined,
            _ => HeaderValue::from_static(value),
        };
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

fn own_line(line: &[u8]) -> Option<(HeaderName, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let folded = name.as_str().replace(|char: char| !char.is_ascii_alphanumeric(), "-");
    FORWARDING.contains(&&folded[..]).then_some((name, &line[colon + 1..]))
}

fn assert_stand_where_they_say(elements: &[Element<'_>], lines: &[&[u8]]) {
    for element in elements {
        let line = lines[lines.len() - 1 - element.line];
        assert_eq!(&line[element.start..][..element.bytes.len()], element.bytes);
        assert_eq!(trim(element.bytes), element.bytes);
    }
}

fn said(element: &ForwardedElement<'_>) -> Said {
    let text = |value: Option<Value<'_>>| {
        value.map(|value| value.text(&mut vec![0; 1 << 20]).expect("the buffer is large").to_vec())
    };
    Said { node: text(element.node()), host: text(element.host()), proto: text(element.proto()) }
}

fn assert_is_usable(ip: IpAddr) {
    assert!(ip == ip.to_canonical() && !ip.is_unspecified(), "{ip}");
}

fn print(ip: IpAddr, port: Option<u16>) -> String {
    match port {
        Some(port) => SocketAddr::new(ip, port).to_string(),
        None => ip.to_string(),
    }
}

/// All forms, tried one after the other with the standard library's parsers.
fn naive_node(data: &[u8]) -> Option<Node> {
    let text = std::str::from_utf8(data).ok()?;
    if text.eq_ignore_ascii_case("unknown") || is_hidden(text) {
        return Some(Node::Obscured);
    }
    let (address, port) = match text.rsplit_once(':') {
        Some((address, port)) if address.ends_with(']') || !address.contains(':') => (address, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        Some(hidden) if is_hidden(hidden) => None,
        Some(digits) if digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) => return None,
        Some(digits) => Some(digits.parse().ok()?),
        None => None,
    };
    let ip = match address.strip_prefix('[') {
        Some(inside) => {
            without_zone(inside.strip_suffix(']').filter(|inside| !inside.contains(']'))?)?.into()
        }
        None if address.contains(':') => without_zone(address)?.into(),
        // Only sockets have a parser of their own for the dotted form.
        None => IpAddr::V4(*format!("{address}:1").parse::<SocketAddrV4>().ok()?.ip()),
    };
    let ip = ip.to_canonical();
    (!ip.is_unspecified()).then_some(Node::Address { ip, port })
}

/// A zone of more than the unreserved characters of RFC 6874: whether that is an address is left open.
fn has_odd_zone(data: &[u8]) -> bool {
    let Some(percent) = data.iter().position(|byte| *byte == b'%') else { return false };
    let zone = &data[percent + 1..];
    let zone = match data {
        [b'[', ..] => zone.split(|byte| *byte == b']').next().unwrap_or_default(),
        _ => zone,
    };
    !zone.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte))
}

fn without_zone(text: &str) -> Option<Ipv6Addr> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "a zone"));
    address.parse().ok().filter(|_| !zone.is_empty())
}

fn is_hidden(text: &str) -> bool {
    text.len() > 1
        && text.starts_with('_')
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "._-".contains(char))
}
