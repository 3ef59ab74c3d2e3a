//! Nodes: an address with or without a port, or a hidden one (RFC 7239, section 6, and what proxies write
//! into X-Forwarded-For).

use std::net::{IpAddr, Ipv6Addr};

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
        Some((_, "")) => None,
        Some((address, _)) => address.parse().ok(),
        None => text.parse().ok(),
    }
}

fn is_obfuscated(text: &str) -> bool {
    text.strip_prefix('_').is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    })
}
