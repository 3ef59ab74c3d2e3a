//! Nodes: an address with or without a port, or a hidden one (RFC 7239, section 6, and what proxies write
//! into X-Forwarded-For).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One element of an address list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// An address, canonical: IPv4-mapped IPv6 is IPv4, zones are dropped.
    Address {
        /// The address.
        ip: IpAddr,
        /// The port, where it is written.
        port: Option<u16>,
    },
    /// `unknown` or an obfuscated identifier (`_name`).
    Obscured,
}

impl Node {
    /// Reads `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, `unknown`, `_name`.
    /// A hidden port (`192.0.2.1:_name`) is none.
    ///
    /// `None` is malformed: host names, shortened or zero-padded addresses, ports out of range, empty text, and
    /// the unspecified addresses, which no peer has.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_proxied::wire::node::Node;
    ///
    /// let Some(Node::Address { ip, port }) = Node::parse(b"[::ffff:192.0.2.1]:4711") else { unreachable!() };
    /// assert_eq!((ip.to_string().as_str(), port), ("192.0.2.1", Some(4711)));
    /// assert_eq!(Node::parse(b"_hidden"), Some(Node::Obscured));
    /// assert_eq!(Node::parse(b"localhost"), None);
    /// ```
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match ipv4(bytes) {
            Some((address, b"")) => Self::address(IpAddr::V4(address), None),
            _ => Self::parse_any(bytes),
        }
    }

    /// All forms; the most usual one has been tried before.
    fn parse_any(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())?;
        if text.eq_ignore_ascii_case("unknown") || is_obfuscated(text) {
            return Some(Self::Obscured);
        }
        let (ip, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inside, after) = rest.split_once(']')?;
                (IpAddr::V6(ipv6(inside)?), after)
            }
            None => match text.split_once(':') {
                Some((_, rest)) if rest.contains(':') => (IpAddr::V6(ipv6(text)?), ""),
                Some((address, _)) => (IpAddr::V4(address.parse().ok()?), text.get(address.len()..)?),
                None => (IpAddr::V4(text.parse().ok()?), ""),
            },
        };
        let port = match port.strip_prefix(':') {
            Some(hidden) if is_obfuscated(hidden) => None,
            Some(digits) => Some(number(digits)?),
            None if port.is_empty() => None,
            None => return None,
        };
        Self::address(ip, port)
    }

    /// Reads `192.0.2.1:80` and `2001:db8::1:80`: what stands behind the last colon is always the port, as in
    /// `CloudFront-Viewer-Address` and nowhere else.
    pub fn parse_with_port(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (address, port) = text.rsplit_once(':')?;
        let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        Self::address(address.parse().ok()?, Some(number(port)?))
    }

    fn address(ip: IpAddr, port: Option<u16>) -> Option<Self> {
        let ip = ip.to_canonical();
        (!ip.is_unspecified()).then_some(Self::Address { ip, port })
    }
}

/// Four numbers of 0 to 255 with dots between, none with a leading zero, and what stands behind.
fn ipv4(bytes: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (first, rest) = octet(bytes)?;
    let (second, rest) = octet(rest.strip_prefix(b".")?)?;
    let (third, rest) = octet(rest.strip_prefix(b".")?)?;
    let (fourth, rest) = octet(rest.strip_prefix(b".")?)?;
    Some((Ipv4Addr::new(first, second, third, fourth), rest))
}

fn octet(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| Some(byte.wrapping_sub(b'0')).filter(|digit| *digit < 10);
    let (byte, mut rest) = bytes.split_first()?;
    let mut value = digit(*byte)?;
    while let Some((byte, after)) = rest.split_first() {
        let Some(digit) = digit(*byte) else { break };
        if value == 0 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit)?;
        rest = after;
    }
    Some((value, rest))
}

/// 1 to 65535, in at most five digits.
pub(crate) fn port(digits: &str) -> Option<u16> {
    number(digits).filter(|port| *port != 0)
}

/// A client's port may be 0: odd, but unambiguous.
fn number(digits: &str) -> Option<u16> {
    let is_number = matches!(digits.len(), 1..=5) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// The zone (`%eth0`) means something on one machine only.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    match text.split_once('%') {
        // RFC 6874, section 2.
        Some((address, zone)) => address.parse().ok().filter(|_| is_zone(zone)),
        None => text.parse().ok(),
    }
}

fn is_zone(zone: &str) -> bool {
    !zone.is_empty() && zone.bytes().all(super::path::is_unreserved)
}

fn is_obfuscated(text: &str) -> bool {
    text.strip_prefix('_').is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ipv4_is_the_standard_librarys(text in "[0-9]{0,4}[.]?([0-9]{1,3}[.]){0,3}[0-9]{0,4}[:.]?") {
            let whole = ipv4(text.as_bytes()).filter(|(_, rest)| rest.is_empty()).map(|(address, _)| address);
            prop_assert_eq!(whole, text.parse().ok());
        }

        #[test]
        fn the_usual_form_is_read_like_any(bytes in prop::collection::vec(any::<u8>(), 0..24), text in "[0-9.:a-f%_\\[\\]]{0,20}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                prop_assert_eq!(Node::parse(bytes), Node::parse_any(bytes));
            }
        }
    }

    #[test]
    fn forms() {
        let address = |text: &str, port| Some(Node::Address { ip: text.parse().unwrap(), port });
        for (text, node) in [
            ("192.0.2.1", address("192.0.2.1", None)),
            ("192.0.2.1:0", address("192.0.2.1", Some(0))),
            ("192.0.2.1:_hidden", address("192.0.2.1", None)),
            ("2001:db8::1", address("2001:db8::1", None)),
            ("2001:db8::1:443", address("2001:db8::1:443", None)),
            ("[2001:db8::1%eth0]:443", address("2001:db8::1", Some(443))),
            ("::ffff:192.0.2.1", address("192.0.2.1", None)),
            ("UNKNOWN", Some(Node::Obscured)),
            ("_a.b-c", Some(Node::Obscured)),
        ] {
            assert_eq!(Node::parse(text.as_bytes()), node, "{text}");
        }
        for text in [
            "",
            "_",
            "_a b",
            "localhost",
            "1",
            "127.1",
            "010.0.0.1",
            "0.0.0.0",
            "::",
            "[::]",
            "256.0.0.1",
            "1.2.3.4:65536",
            "1.2.3.4:",
            "1.2.3.4:+1",
            "[1.2.3.4]",
            "[::1]x",
            "[::1",
            "::1%",
            "1.2.3.4 ",
            "1.2.3.4.5",
            "\u{ff11}.2.3.4",
        ] {
            assert_eq!(Node::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_last_colon_is_the_port() {
        let ip = "2001:db8::1".parse().unwrap();
        assert_eq!(Node::parse_with_port(b"2001:db8::1:80"), Some(Node::Address { ip, port: Some(80) }));
        assert_eq!(Node::parse_with_port(b"1.2.3.4"), None);
    }
}
