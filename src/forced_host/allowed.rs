use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::patterns::{Covers, Patterns, Ports};
use crate::configured_host::{UNICODE, configured_host};
use crate::literal::literal;
use crate::wire::host::{Host, HostPort, Scheme};
use crate::wire::node;

/// The hosts that an application answers for.
///
/// | pattern | allows |
/// |---|---|
/// | `example.com` | this host |
/// | `.example.com` | this host and all hosts below it |
/// | `*.example.com` | all hosts below it, but not itself |
/// | `192.0.2.1`, `[::1]` | this address, however it is spelled; `[::]` is no wildcard |
/// | `example.com:8443` | any of these on this port alone |
///
/// A pattern without a port allows the scheme's own port: a link to another port of the same host would lead to
/// another service. 80 and 443 count as no port under both schemes, since a proxy that ends TLS may write
/// the port of its inner side. Case and one trailing dot do not matter.
///
/// With the feature `idn` a name may be written in Unicode (`bücher.example`); requests name hosts in ASCII. With the
/// feature `serde` it is read from a list, or from one text with commas or blanks between the patterns.
///
/// A check allocates nothing, and its time does not grow with the number of patterns.
///
/// # Example
///
/// ```
/// use tower_proxied::Scheme;
/// use tower_proxied::forced_host::AllowedHosts;
/// use tower_proxied::wire::host::HostPort;
///
/// let allowed = AllowedHosts::parse(["example.com", "*.example.org", "[::1]:8080"])?;
/// let allows = |host: &str| allowed.allows(Scheme::Https, &HostPort::parse(host.as_bytes()).unwrap());
/// assert!(allows("Example.com.") && allows("example.com:443") && allows("a.b.example.org"));
/// assert!(!allows("example.com:8443") && !allows("example.org") && !allows("evilexample.org"));
/// assert!(allows("[0:0:0:0:0:0:0:1]:8080"));
/// # Ok::<(), tower_proxied::forced_host::AllowedHostsError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct AllowedHosts {
    /// `None` is any.
    patterns: Option<Arc<Patterns>>,
}

impl AllowedHosts {
    /// Reads patterns.
    ///
    /// # Errors
    ///
    /// What is no pattern, `*` alone (say [`any`](Self::any)), and an empty list, which would refuse everything.
    /// The error holds the offending item.
    pub fn parse<I>(items: I) -> Result<Self, AllowedHostsError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut patterns = Patterns::default();
        for item in items {
            let (covers, host) = read(item.as_ref())?;
            let ports = host.port().map_or(Ports::Usual, Ports::Only);
            patterns.add(covers, host.into_host(), ports, 0);
        }
        if patterns.is_empty() {
            return Err(Problem::Nothing.of(""));
        }
        Ok(Self { patterns: Some(Arc::new(patterns)) })
    }

    /// For literals.
    ///
    /// # Panics
    ///
    /// Where [`parse`](Self::parse) gives an error.
    pub fn from_static(patterns: &[&'static str]) -> Self {
        literal(Self::parse(patterns))
    }

    /// Every well-formed host on every port: the client chooses where links lead. Only for tools that print no
    /// link and send no mail.
    pub fn any() -> Self {
        Self { patterns: None }
    }

    /// Patterns without a port allow every port.
    pub fn any_port(mut self) -> Self {
        self.patterns = self.patterns.map(|patterns| Arc::new(patterns.on_any_port()));
        self
    }

    /// Whether the application answers for this host under this scheme.
    pub fn allows(&self, scheme: Scheme, host: &HostPort<'_>) -> bool {
        self.patterns.as_ref().is_none_or(|patterns| patterns.rank(scheme, host).is_some())
    }

    /// `None` is any.
    pub(super) fn patterns(&self) -> Option<&Patterns> {
        self.patterns.as_deref()
    }
}

fn read(item: &str) -> Result<(Covers, HostPort<'static>), AllowedHostsError> {
    let (covers, text) = if let Some(text) = item.strip_prefix("*.") {
        (Covers::Below, text)
    } else if let Some(text) = item.strip_prefix('.') {
        (Covers::HostAndBelow, text)
    } else {
        (Covers::Host, item)
    };
    let problem = || match item {
        "*" => Problem::Star,
        _ if !item.is_ascii() => Problem::Unicode,
        _ if item.contains('/') => Problem::Url,
        _ if has_bad_port(text) => Problem::Port,
        _ => Problem::Pattern,
    };
    let host = configured_host(text).ok_or_else(|| problem().of(item))?;
    match host.host() {
        Host::V4(_) | Host::V6(_) if covers != Covers::Host => Err(Problem::BelowAddress.of(item)),
        _ => Ok((covers, host)),
    }
}

fn has_bad_port(host: &str) -> bool {
    host.rsplit_once(':')
        .is_some_and(|(host, port)| Host::parse(host.as_bytes()).is_some() && node::port(port).is_none())
}

impl FromStr for AllowedHosts {
    type Err = AllowedHostsError;

    /// Reads patterns with commas or blanks between them, as in an environment variable.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(
            text.split(|char: char| char == ',' || char.is_ascii_whitespace())
                .filter(|item| !item.is_empty()),
        )
    }
}

/// A list that is no [`AllowedHosts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHostsError {
    item: Box<str>,
    problem: Problem,
}

impl AllowedHostsError {
    /// The offending item; empty where there is none at all.
    pub fn item(&self) -> &str {
        &self.item
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Nothing,
    Star,
    Unicode,
    Url,
    Port,
    BelowAddress,
    Pattern,
}

impl Problem {
    fn of(self, item: &str) -> AllowedHostsError {
        AllowedHostsError { item: item.into(), problem: self }
    }
}

impl fmt::Display for AllowedHostsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::Nothing => {
                return f.write_str(
                    "allowed hosts: none at all would refuse every request; AllowedHosts::any() allows all",
                );
            }
            Problem::Star => "say AllowedHosts::any() for that",
            Problem::Unicode => UNICODE,
            Problem::Url => "it must be a host, without scheme and path",
            Problem::Port => "its port must be 1 to 65535; any_port() allows all",
            Problem::BelowAddress => "nothing is below an address",
            Problem::Pattern => "it must be a host such as example.com, .example.com, *.example.com or [::1]",
        };
        write!(f, "allowed host {:?} is refused: {problem}", self.item)
    }
}

impl std::error::Error for AllowedHostsError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(allowed: &AllowedHosts, scheme: Scheme, host: &str) -> bool {
        allowed.allows(scheme, &HostPort::parse(host.as_bytes()).expect(host))
    }

    #[test]
    fn ports() {
        let plain = AllowedHosts::from_static(&["a.example"]);
        for scheme in [Scheme::Http, Scheme::Https] {
            for host in ["a.example", "a.example:80", "a.example:443"] {
                assert!(allows(&plain, scheme, host), "{scheme} {host}");
            }
            assert!(!allows(&plain, scheme, "a.example:8080"));
            assert!(allows(&plain.clone().any_port(), scheme, "a.example:8080"));
        }
        let own = AllowedHosts::from_static(&["a.example:443", "b.example:8443"]);
        assert!(allows(&own, Scheme::Https, "a.example"));
        assert!(allows(&own, Scheme::Https, "a.example:443"));
        assert!(!allows(&own, Scheme::Http, "a.example"));
        assert!(
            !allows(&own, Scheme::Http, "a.example:443"),
            "443 under http counts as no port, which is 80"
        );
        assert!(allows(&own, Scheme::Http, "b.example:8443"));
        assert!(!allows(&own, Scheme::Https, "b.example"));
        assert!(!allows(&own.any_port(), Scheme::Https, "b.example:1"), "a written port stays the only one");
    }

    #[test]
    fn below_is_by_labels() {
        let allowed = AllowedHosts::from_static(&["*.Example.com", ".example.org."]);
        for host in ["a.example.com", "A.B.EXAMPLE.COM.", "example.org", "x.example.org"] {
            assert!(allows(&allowed, Scheme::Http, host), "{host}");
        }
        for host in ["example.com", "evilexample.com", "evilexample.org", "com", "example.org.evil.example"] {
            assert!(!allows(&allowed, Scheme::Http, host), "{host}");
        }
    }

    #[test]
    fn addresses_are_compared_as_addresses() {
        let allowed = AllowedHosts::from_static(&["[::1]", "[::]", "127.0.0.1"]);
        assert!(allows(&allowed, Scheme::Http, "[0:0::1]"));
        assert!(!allows(&allowed, Scheme::Http, "[::2]"));
        assert!(!allows(&allowed, Scheme::Http, "[::ffff:127.0.0.1]"));
    }

    #[test]
    fn errors_name_the_item() {
        for item in [
            "*",
            "**.a",
            "*a",
            "a.*",
            "*.",
            ".",
            "",
            "*.*.a",
            "..a",
            "b\u{fc} cher.example",
            "https://a.example",
            "a/b",
            "a:0",
            "a:*",
            "a:",
            "user@a",
            ".192.0.2.1",
            "*.[::1]",
            "::1",
            "a b",
        ] {
            let error = AllowedHosts::parse(["ok.example", item]).expect_err(item);
            assert_eq!(error.item(), item);
            assert!(error.to_string().contains(&format!("{item:?}")), "{error}");
        }
        for (item, what_to_do) in [
            ("https://a.example", "without scheme and path"),
            ("a.example/", "without scheme and path"),
            ("b\u{fc} cher.example", "ASCII"),
        ] {
            let error = AllowedHosts::parse([item]).unwrap_err();
            assert!(error.to_string().contains(what_to_do), "{error}");
        }
        let error = AllowedHosts::parse([""; 0]).unwrap_err();
        assert!(error.to_string().contains("none at all"), "{error}");
        assert!("a.example, .b.example\r\nc.example".parse::<AllowedHosts>().is_ok());
        assert!(" ,".parse::<AllowedHosts>().is_err());
    }

    #[test]
    fn unicode_is_for_the_configuration_alone() {
        assert_eq!(HostPort::parse("bücher.example".as_bytes()), None);
        assert_eq!(AllowedHosts::parse(["*.bücher.example:8443"]).is_ok(), cfg!(feature = "idn"));
        if cfg!(feature = "idn") {
            let allowed = AllowedHosts::from_static(&["*.bücher.example:8443"]);
            assert!(allows(&allowed, Scheme::Https, "www.XN--bcher-KVA.example:8443"));
            assert!(!allows(&allowed, Scheme::Https, "xn--bcher-kva.example:8443"));
        }
    }

    /// One pattern after the other, by their text.
    fn naive(patterns: &[String], any_port: bool, scheme: Scheme, name: &str, port: Option<u16>) -> bool {
        let port = port.filter(|port| *port != 80 && *port != 443);
        let name = name.to_lowercase();
        patterns.iter().any(|pattern| {
            let (host, only) = match pattern.rsplit_once(':') {
                Some((host, only)) if !only.ends_with(']') => (host, Some(only.parse::<u16>().unwrap())),
                _ => (&pattern[..], None),
            };
            let host = host.to_lowercase();
            let allows_port = match only {
                Some(only) => port.unwrap_or(scheme.default_port()) == only,
                None => any_port || port.is_none(),
            };
            let allows_host = match (host.strip_prefix("*."), host.strip_prefix('.')) {
                (Some(above), _) => name.ends_with(&format!(".{above}")),
                (None, Some(above)) => name == above || name.ends_with(&host),
                (None, None) => name == host,
            };
            allows_port && allows_host
        })
    }

    proptest! {
        #[test]
        fn the_index_is_a_scan_of_the_patterns(
            patterns in prop::collection::vec("(|\\.|\\*\\.)([abA]{1,2}\\.){0,2}[ab](|:80|:443|:81)", 1..9),
            addresses in prop::collection::vec("(192\\.0\\.2\\.[12]|\\[::[12]\\])(|:80|:81)", 0..3),
            any_port: bool,
            is_https: bool,
            names in prop::collection::vec("([abB]{1,2}\\.){0,3}[ab]|192\\.0\\.2\\.[12]|\\[::[12]\\]", 1..9),
            port in prop::option::of(prop::sample::select(vec![80_u16, 443, 81, 82])),
        ) {
            let scheme = if is_https { Scheme::Https } else { Scheme::Http };
            let patterns = [patterns, addresses].concat();
            let mut allowed = AllowedHosts::parse(&patterns).unwrap();
            if any_port {
                allowed = allowed.any_port();
            }
            for name in names {
                let asked = port.map_or(name.clone(), |port| format!("{name}:{port}"));
                let expected = naive(&patterns, any_port, scheme, &name, port);
                prop_assert_eq!(allows(&allowed, scheme, &asked), expected, "{} in {:?}", asked, patterns);
            }
        }
    }
}
