use std::fmt;

use crate::configured_host::{UNICODE, configured_host};
use crate::wire::host::{Host, HostPort};

/// Hosts that are asked over https.
///
/// A pattern is a host (`cdn.example`, `192.0.2.7`), or a domain with all below it (`.example.com`). What is denied is
/// left alone whatever else is said; what is allowed is upgraded though the rule would not. With the feature `idn` a
/// pattern may be written in Unicode. Names are compared in ASCII: where a pattern that is denied has an `xn--`, all hosts that a page writes in Unicode are left alone.
#[derive(Clone, Debug)]
#[must_use]
pub struct Hosts {
    rule: Rule,
    allow: Vec<HostPattern>,
    deny: Vec<HostPattern>,
}

#[derive(Clone, Debug)]
enum Rule {
    Upgradable,
    Same,
    Only,
}

impl Hosts {
    /// All but those that a browser loads over `http` or does not upgrade itself: `localhost`, names below it, and IP
    /// addresses in every spelling (Secure Contexts, section 3.1; Mixed Content, section 4.1).
    pub fn upgradable() -> Self {
        Self { rule: Rule::Upgradable, allow: Vec::new(), deny: Vec::new() }
    }

    /// Only the host that the request asked for; none where it is not known.
    pub fn same() -> Self {
        Self { rule: Rule::Same, ..Self::upgradable() }
    }

    /// Only these.
    ///
    /// # Errors
    ///
    /// What is no pattern.
    pub fn only<I>(patterns: I) -> Result<Self, HostPatternError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self { rule: Rule::Only, ..Self::upgradable() }.allow(patterns)
    }

    /// These too.
    ///
    /// # Errors
    ///
    /// What is no pattern.
    pub fn allow<I>(mut self, patterns: I) -> Result<Self, HostPatternError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        extend(&mut self.allow, patterns)?;
        Ok(self)
    }

    /// These never.
    ///
    /// # Errors
    ///
    /// What is no pattern.
    pub fn deny<I>(mut self, patterns: I) -> Result<Self, HostPatternError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        extend(&mut self.deny, patterns)?;
        Ok(self)
    }

    /// A name in Unicode may be any that is denied in its ASCII form.
    pub(super) fn denies(&self, host: &Host<'_>) -> bool {
        let is_unicode = matches!(host, Host::Name(name) if !name.is_ascii());
        any_matches(&self.deny, host) || (is_unicode && self.deny.iter().any(HostPattern::is_encoded))
    }

    pub(super) fn admit(&self, host: &Host<'_>, own: Option<&HostPort<'static>>) -> bool {
        if self.denies(host) {
            return false;
        }
        any_matches(&self.allow, host)
            || match self.rule {
                Rule::Upgradable => matches!(host, Host::Name(_)) && !is_local_name(host),
                Rule::Same => own.is_some_and(|own| own.host() == host),
                Rule::Only => false,
            }
    }
}

/// A text that is no host pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPatternError {
    item: Box<str>,
}

impl HostPatternError {
    /// The offending item.
    pub fn item(&self) -> &str {
        &self.item
    }
}

impl fmt::Display for HostPatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem =
            if self.item.is_ascii() { "it must be a host without a port, or .domain" } else { UNICODE };
        write!(f, "host pattern {:?} is refused: {problem}", self.item)
    }
}

impl std::error::Error for HostPatternError {}

#[derive(Clone, Debug)]
enum HostPattern {
    Exactly(Host<'static>),
    /// A domain and all below it.
    Under(Box<str>),
}

impl HostPattern {
    fn parse(text: &str) -> Option<Self> {
        let (name, is_domain) = text.strip_prefix('.').map_or((text, false), |name| (name, true));
        match (host(name)?, is_domain) {
            (Host::Name(name), true) => Some(Self::Under((*name).into())),
            (_, true) => None,
            (host, false) => Some(Self::Exactly(host)),
        }
    }

    /// Stands for a name in Unicode (RFC 5890, section 2.3.2.1).
    fn is_encoded(&self) -> bool {
        let name: &str = match self {
            Self::Exactly(Host::Name(name)) => name,
            Self::Exactly(_) => return false,
            Self::Under(domain) => domain,
        };
        name.split('.').any(|label| label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--")))
    }

    fn matches(&self, host: &Host<'_>) -> bool {
        match (self, host) {
            (Self::Exactly(pattern), host) => pattern == host,
            (Self::Under(domain), Host::Name(name)) => is_under(name, domain),
            (Self::Under(_), _) => false,
        }
    }
}

/// A host without a port, as an operator writes it.
fn host(text: &str) -> Option<Host<'static>> {
    if text.is_ascii() {
        return Host::parse(text.as_bytes()).map(Host::into_owned);
    }
    configured_host(text).filter(|host| host.port().is_none()).map(|host| host.host().clone())
}

fn extend<I>(list: &mut Vec<HostPattern>, patterns: I) -> Result<(), HostPatternError>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    for text in patterns {
        let text = text.as_ref();
        list.push(HostPattern::parse(text).ok_or_else(|| HostPatternError { item: text.into() })?);
    }
    Ok(())
}

fn any_matches(patterns: &[HostPattern], host: &Host<'_>) -> bool {
    patterns.iter().any(|pattern| pattern.matches(host))
}

/// Trustworthy without TLS (Secure Contexts, section 3.1).
pub(super) fn is_local_name(host: &Host<'_>) -> bool {
    matches!(host, Host::Name(name) if is_under(name, "localhost"))
}

/// `domain`, or a name below it.
fn is_under(name: &str, domain: &str) -> bool {
    let start = name.len().checked_sub(domain.len());
    let Some((above, end)) = start.and_then(|start| name.split_at_checked(start)) else { return false };
    end.eq_ignore_ascii_case(domain) && (above.is_empty() || above.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::super::engine::upgrade_fragment;
    use super::super::policy::UpgradePolicy;
    use super::*;

    #[test]
    fn denied_in_ascii_and_written_in_unicode() {
        let page = "<img src=http://b\u{fc}cher.example/><img src=http://example/>";
        let upgraded = |hosts| upgrade_fragment(page, &UpgradePolicy::new().hosts(hosts)).into_owned();
        for denied in ["xn--bcher-kva.example", ".XN--bcher-kva.example"] {
            let hosts = Hosts::upgradable().deny([denied]).unwrap();
            assert_eq!(upgraded(hosts), page.replace("http://e", "https://e"), "{denied}");
        }
        let denied = Hosts::upgradable().deny([".b\u{fc}cher.example"]);
        assert_eq!(denied.is_ok(), cfg!(feature = "idn"));
        if let Ok(hosts) = denied {
            assert_eq!(upgraded(hosts.clone()), page.replace("http://e", "https://e"));
            let ascii = "<img src=http://x.XN--bcher-kva.example/>";
            assert_eq!(upgrade_fragment(ascii, &UpgradePolicy::new().hosts(hosts)), ascii);
        }
        assert_eq!(upgraded(Hosts::upgradable().deny(["other"]).unwrap()), page.replace("http:", "https:"));
        assert_eq!(upgraded(Hosts::upgradable().deny([".example"]).unwrap()), page);
    }

    #[test]
    fn errors_name_the_item() {
        for item in [
            "h:80",
            "",
            ".",
            "a b",
            ".192.0.2.7",
            "http://h",
            "*.h",
            "b\u{fc}cher:80",
            "\u{ad}",
            ".\u{ff11}.2.3.4",
        ] {
            for list in [Hosts::only([item]), Hosts::same().allow([item]), Hosts::upgradable().deny([item])] {
                let error = list.unwrap_err();
                assert_eq!(error.item(), item);
                assert!(error.to_string().contains(&format!("{item:?}")), "{error}");
            }
        }
    }
}
