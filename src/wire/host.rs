//! Hosts (RFC 9110, section 7.2; RFC 3986, section 3.2.2), in a strict grammar of our own.
//!
//! `http::uri::Authority` is no check: it accepts `user@host`, `a,b`, `[::1]x`, and ports over 65535.
//!
//! Accepted are DNS names of letters, digits, `-` and `_` (labels of 1 to 63 bytes, 253 in all, one trailing dot),
//! IPv4 in its one usual spelling, and IPv6 in brackets; a port of 1 to 65535. What a browser would read as
//! another host (`127.1`, `0x7f.0.0.1`, `%65xample`, user info, Unicode) is refused.

use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Deref;

use super::ShortText;
use super::node;

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http`, `https`, and `ws`, `wss`, which some proxies write on upgrades; case does not matter.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let is = |name: &[u8]| bytes.eq_ignore_ascii_case(name);
        if is(b"https") || is(b"wss") {
            Some(Self::Https)
        } else if is(b"http") || is(b"ws") {
            Some(Self::Http)
        } else {
            None
        }
    }

    /// The scheme of a URI: `http` or `https`; case does not matter (RFC 3986, section 3.1).
    pub fn of_uri(bytes: &[u8]) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| bytes.eq_ignore_ascii_case(scheme.as_str().as_bytes()))
    }

    /// `"http"` or `"https"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A host without its port. Two spellings of one host are equal; it prints in its canonical form.
#[derive(Clone, Debug)]
pub enum Host<'a> {
    /// A DNS name, without a trailing dot; letters as written.
    Name(HostName<'a>),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads a host without a port.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        if let Some(rest) = text.strip_prefix('[') {
            return rest.strip_suffix(']')?.parse().ok().map(Self::V6);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if ends_in_a_number(name) {
            return text.parse().ok().map(Self::V4);
        }
        is_dns_name(name).then_some(Self::Name(HostName(Letters::AsWritten(name))))
    }

    /// The same, borrowed.
    pub fn by_ref(&self) -> Host<'_> {
        match self {
            Self::Name(name) => Host::Name(HostName(Letters::AsWritten(name))),
            Self::V4(address) => Host::V4(*address),
            Self::V6(address) => Host::V6(*address),
        }
    }

    /// The names above this one, the nearest to the root first; an address has none.
    pub(crate) fn above(&self) -> impl Iterator<Item = Host<'_>> {
        let name = match self {
            Self::Name(name) => name,
            Self::V4(_) | Self::V6(_) => "",
        };
        let behind = move |dot: usize| name.get(dot..)?.strip_prefix('.');
        name.rmatch_indices('.')
            .filter_map(move |(dot, _)| behind(dot))
            .map(|above| Host::Name(HostName(Letters::AsWritten(above))))
    }

    /// The same, owned.
    pub fn into_owned(self) -> Host<'static> {
        match self {
            Self::Name(name) => Host::Name(HostName(Letters::Lower(ShortText::lower_case(&name)))),
            Self::V4(address) => Host::V4(address),
            Self::V6(address) => Host::V6(address),
        }
    }
}

/// A DNS name: borrowed with its letters as written, or owned in lower case. Up to 62 bytes are owned without an
/// allocation.
#[derive(Clone, Debug)]
pub struct HostName<'a>(Letters<'a>);

#[derive(Clone, Debug)]
enum Letters<'a> {
    AsWritten(&'a str),
    Lower(ShortText),
}

impl<'a> HostName<'a> {
    /// For readers with a grammar of their own.
    #[cfg(feature = "force-https-body")]
    pub(crate) fn unchecked(name: std::borrow::Cow<'a, str>) -> Self {
        Self(match name {
            std::borrow::Cow::Borrowed(name) => Letters::AsWritten(name),
            std::borrow::Cow::Owned(name) => Letters::Lower(ShortText::lower_case(&name)),
        })
    }
}

impl Deref for HostName<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Letters::AsWritten(name) => name,
            Letters::Lower(name) => name,
        }
    }
}

impl PartialEq<Host<'_>> for Host<'_> {
    fn eq(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Self::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
            (Self::V4(a), Host::V4(b)) => a == b,
            (Self::V6(a), Host::V6(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

/// The letters of a name have no case here either.
impl Hash for Host<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Name(name) => {
                for chunk in name.as_bytes().chunks(32) {
                    let mut lower = [0; 32];
                    lower.iter_mut().zip(chunk).for_each(|(lower, byte)| *lower = byte.to_ascii_lowercase());
                    state.write(&lower);
                }
            }
            Self::V4(address) => address.hash(state),
            Self::V6(address) => address.hash(state),
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(HostName(Letters::Lower(name))) => f.write_str(name),
            Self::Name(name) if !name.bytes().any(|byte| byte.is_ascii_uppercase()) => f.write_str(name),
            Self::Name(name) => name.chars().try_for_each(|char| f.write_char(char.to_ascii_lowercase())),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// A host and the port that is written behind it.
///
/// # Example
///
/// ```
/// use tower_proxied::wire::host::HostPort;
///
/// let host = HostPort::parse(b"[2001:DB8:0:0::1]:8080").unwrap();
/// assert_eq!(host.to_string(), "[2001:db8::1]:8080");
/// assert_eq!(HostPort::parse(b"Example.COM.").unwrap().to_string(), "example.com");
/// assert_eq!(HostPort::parse(b"example.com@evil.example"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort<'a> {
    host: Host<'a>,
    port: Option<u16>,
}

impl<'a> HostPort<'a> {
    /// Both parts, put together.
    pub fn new(host: Host<'a>, port: Option<u16>) -> Self {
        Self { host, port }
    }

    /// Reads `host` or `host:port`.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let colon = match bytes.iter().rposition(|byte| *byte == b']') {
            Some(bracket) => bracket.checked_add(1).filter(|after| *after < bytes.len()),
            None => bytes.iter().position(|byte| *byte == b':'),
        };
        let Some((host, port)) = colon.and_then(|at| bytes.split_at_checked(at)) else {
            return Host::parse(bytes).map(|host| Self { host, port: None });
        };
        let port = std::str::from_utf8(port.strip_prefix(b":")?).ok().and_then(node::port)?;
        Host::parse(host).map(|host| Self { host, port: Some(port) })
    }

    /// The host.
    pub fn host(&self) -> &Host<'a> {
        &self.host
    }

    /// The host alone.
    pub fn into_host(self) -> Host<'a> {
        self.host
    }

    /// The port as written; default ports are not dropped here.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The same, borrowed.
    pub fn by_ref(&self) -> HostPort<'_> {
        HostPort { host: self.host.by_ref(), port: self.port }
    }

    /// Whether both ask for the same place, whatever the scheme.
    pub fn is_same_place(&self, other: &HostPort<'_>) -> bool {
        self.host == other.host && self.unusual_port() == other.unusual_port()
    }

    /// The port, unless it is 80 or 443: front ends write their own, and both count as none under both schemes.
    pub fn unusual_port(&self) -> Option<u16> {
        self.port.filter(|port| !matches!(port, 80 | 443))
    }

    /// The same, owned, in lower case.
    pub fn into_owned(self) -> HostPort<'static> {
        HostPort { host: self.host.into_owned(), port: self.port }
    }
}

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        matches!(label.len(), 1..=63)
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    matches!(name.len(), 1..=253) && name.split('.').all(is_label)
}

/// What the URL standard calls a host that ends in a number: browsers take it for an IPv4 address.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_hex = last
        .strip_prefix("0x")
        .or_else(|| last.strip_prefix("0X"))
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_hex || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> Option<String> {
        HostPort::parse(text.as_bytes()).map(|host| host.to_string())
    }

    #[test]
    fn one_host_has_one_name() {
        for (written, expected) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com:80"),
            ("a_b.example", "a_b.example"),
            ("xn--4ca9at.com", "xn--4ca9at.com"),
            ("1.example", "1.example"),
            ("192.0.2.1:443", "192.0.2.1:443"),
            ("[2001:DB8:0:0:0::1]:1", "[2001:db8::1]:1"),
            ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"),
            ("h:00080", "h:80"),
            ("h:65535", "h:65535"),
        ] {
            assert_eq!(canonical(written).as_deref(), Some(expected), "{written}");
        }
    }

    #[test]
    fn what_browsers_or_proxies_read_otherwise_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "*",
            "~",
            "a b",
            " a",
            "a ",
            "a,b",
            "a;b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a@b",
            "a%00",
            "%61",
            "é",
            "a:",
            "a:0",
            "a:65536",
            "a:+80",
            "a:1:2",
            ":80",
            "a:8o",
            "::1",
            "[]",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]:",
            "[::1].:80",
            "x[::1]",
            "[v1.a]",
            "[::1%25eth0]",
            "[::1]]",
            "[[::1]]",
            "[192.0.2.1]",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "256.1.1.1",
            "1.1.1.01",
            "1.1.1.1.",
            "a.1",
            "a.0x",
            "a\tb",
            "a\nb",
            "a\u{7f}",
            "a|b",
            "a\"b",
            "a<b",
            "a'b",
            "a`b",
            "a{b",
            "a^b",
            "a$b",
            "a!b",
            "a&b",
            "a=b",
        ] {
            assert_eq!(canonical(text), None, "{text:?}");
        }
    }

    #[test]
    fn labels_and_names_have_limits() {
        let label = "a".repeat(63);
        assert!(Host::parse(label.as_bytes()).is_some());
        assert!(Host::parse(format!("{label}a").as_bytes()).is_none());
        let name = [label.as_str(); 4].join(".");
        assert!(Host::parse(&name.as_bytes()[..253]).is_some());
        assert!(Host::parse(&name.as_bytes()[..254]).is_none());
    }

    #[test]
    fn schemes() {
        for (text, scheme) in
            [("HTTP", Scheme::Http), ("https", Scheme::Https), ("ws", Scheme::Http), ("WSS", Scheme::Https)]
        {
            assert_eq!(Scheme::parse(text.as_bytes()), Some(scheme));
        }
        assert_eq!(Scheme::of_uri(b"Https"), Some(Scheme::Https));
        assert_eq!(Scheme::of_uri(b"wss"), None);
        for text in ["", "h", "http ", "http:", "h1", "javascript"] {
            assert_eq!(Scheme::parse(text.as_bytes()), None, "{text}");
        }
    }

    fn hash(host: &Host<'_>) -> u64 {
        let mut state = std::hash::DefaultHasher::new();
        host.hash(&mut state);
        state.finish()
    }

    #[test]
    fn names_above() {
        let above = |text: &str| -> Vec<String> {
            Host::parse(text.as_bytes()).unwrap().above().map(|host| host.to_string()).collect()
        };
        assert_eq!(above("A.b.Example."), ["example", "b.example"]);
        assert_eq!(above("example"), [""; 0]);
        assert_eq!(above("192.0.2.1"), [""; 0]);
    }

    proptest! {
        #[test]
        fn one_host_has_one_hash(name in "[a-zA-Z]{1,40}(\\.[a-zA-Z_]{1,40}){0,3}") {
            let written = Host::parse(name.as_bytes()).unwrap();
            let lower = name.to_lowercase();
            prop_assert_eq!(hash(&written), hash(&Host::parse(lower.as_bytes()).unwrap()));
            prop_assert_eq!(hash(&written), hash(&written.clone().into_owned()));
        }

        #[test]
        fn no_bytes_panic_and_what_is_read_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            reads_back(&bytes)?;
        }

        #[test]
        fn near_misses_read_back(text in "[a1.:\\[\\]@%x_-]{0,16}") {
            reads_back(text.as_bytes())?;
        }
    }

    fn reads_back(bytes: &[u8]) -> Result<(), TestCaseError> {
        if let Some(host) = HostPort::parse(bytes) {
            let text = host.to_string();
            prop_assert_eq!(HostPort::parse(text.as_bytes()), Some(host.clone()));
            prop_assert_eq!(text.to_ascii_lowercase(), text.clone());
            prop_assert_eq!(host.into_owned().to_string(), text);
        }
        Ok(())
    }
}
