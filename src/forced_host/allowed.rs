use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

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
/// A check allocates nothing; its time grows with the number of patterns.
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
    patterns: Option<Arc<[Pattern]>>,
    any_port: bool,
}

impl AllowedHosts {
    /// Reads patterns.
    ///
    /// # Errors
    ///
    /// What is no pattern, `*` alone (say [`any`](Self::any)), and an empty list, which would refuse everything.
    /// The error holds the offending item.
    pub fn parse<I>(patterns: I) -> Result<Self, AllowedHostsError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let patterns: Arc<[Pattern]> =
            patterns.into_iter().map(|pattern| Pattern::parse(pattern.as_ref())).collect::<Result<_, _>>()?;
        if patterns.is_empty() {
            return Err(Problem::Nothing.of(""));
        }
        Ok(Self { patterns: Some(patterns), any_port: false })
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
        Self { patterns: None, any_port: true }
    }

    /// Patterns without a port allow every port.
    pub fn any_port(mut self) -> Self {
        self.any_port = true;
        self
    }

    /// Whether the application answers for this host under this scheme.
    pub fn allows(&self, scheme: Scheme, host: &HostPort<'_>) -> bool {
        let Some(patterns) = &self.patterns else { return true };
        let port = host.unusual_port();
        patterns.iter().any(|pattern| {
            let allows_port = match pattern.port {
                Some(only) => port.unwrap_or(scheme.default_port()) == only,
                None => port.is_none() || self.any_port,
            };
            allows_port && pattern.matches(host.host())
        })
    }
}

#[derive(Clone, Debug)]
struct Pattern {
    covers: Covers,
    host: Host<'static>,
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Covers {
    Host,
    HostAndBelow,
    Below,
}

impl Pattern {
    fn parse(item: &str) -> Result<Self, AllowedHostsError> {
        let (covers, host) = if let Some(host) = item.strip_prefix("*.") {
            (Covers::Below, host)
        } else if let Some(host) = item.strip_prefix('.') {
            (Covers::HostAndBelow, host)
        } else {
            (Covers::Host, item)
        };
        let problem = || match item {
            "*" => Problem::Star,
            _ if !item.is_ascii() => Problem::Unicode,
            _ if item.contains("://") => Problem::Url,
            _ if has_bad_port(host) => Problem::Port,
            _ => Problem::Pattern,
        };
        let host = HostPort::parse(host.as_bytes()).ok_or_else(|| problem().of(item))?;
        let port = host.port();
        match host.into_owned().into_host() {
            Host::V4(_) | Host::V6(_) if covers != Covers::Host => Err(Problem::BelowAddress.of(item)),
            host => Ok(Self { covers, host, port }),
        }
    }

    fn matches(&self, host: &Host<'_>) -> bool {
        match self.covers {
            Covers::Host => self.host == *host,
            Covers::HostAndBelow => self.host == *host || self.is_above(host),
            Covers::Below => self.is_above(host),
        }
    }

    fn is_above(&self, host: &Host<'_>) -> bool {
        let (Host::Name(above), Host::Name(name)) = (&self.host, host) else { return false };
        let start = name.len().checked_sub(above.len());
        start
            .and_then(|start| name.as_bytes().split_at_checked(start))
            .is_some_and(|(below, end)| below.ends_with(b".") && end.eq_ignore_ascii_case(above.as_bytes()))
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
        Self::parse(text.split([',', ' ', '\t', '\n']).filter(|item| !item.is_empty()))
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
            Problem::Unicode => "write its ASCII form, which starts with xn--",
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
            "bücher.example",
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
        let error = AllowedHosts::parse([""; 0]).unwrap_err();
        assert!(error.to_string().contains("none at all"), "{error}");
        assert!("a.example, .b.example".parse::<AllowedHosts>().is_ok());
        assert!(" ,".parse::<AllowedHosts>().is_err());
    }

    proptest! {
        #[test]
        fn a_host_below_is_one_with_a_label_more(below in "[ab]{0,2}(\\.[ab]{1,2}){0,2}", above in "[ab]{1,2}(\\.[ab]{1,2}){0,1}") {
            let pattern = AllowedHosts::parse([format!("*.{above}")]).unwrap();
            for host in [format!("{below}.{above}"), format!("{below}{above}")] {
                if HostPort::parse(host.as_bytes()).is_some() {
                    let naive = host.ends_with(&format!(".{above}"));
                    prop_assert_eq!(allows(&pattern, Scheme::Http, &host), naive, "{}", host);
                }
            }
        }
    }
}
