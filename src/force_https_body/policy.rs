use std::fmt;
use std::ops::BitOr;

use super::engine::UrlPort;
use crate::configured_host::{UNICODE, configured_host};
use crate::wire::host::{Host, HostPort};

/// What is upgraded, and what is left alone.
///
/// Unless said otherwise: every attribute from which a browser fetches on its own, on every host that a browser
/// would not load over `http` anyway, with the port as written.
///
/// # Example
///
/// ```
/// use tower_proxied::force_https_body::{Hosts, Targets, UpgradePolicy, upgrade_fragment};
///
/// let policy = UpgradePolicy::new()
///     .targets(Targets::DEFAULT | Targets::FORM_ACTION)
///     .hosts(Hosts::upgradable().deny(["legacy.example"])?);
/// let form = r#"<form action="http://h/"><img src="http://legacy.example/"></form>"#;
/// assert_eq!(
///     upgrade_fragment(form, &policy),
///     r#"<form action="https://h/"><img src="http://legacy.example/"></form>"#,
/// );
/// # Ok::<(), tower_proxied::force_https_body::HostPatternError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct UpgradePolicy {
    pub(super) targets: Targets,
    hosts: Hosts,
    ports: Ports,
    max_hold: u64,
    pub(super) is_report_only: bool,
    pub(super) on_rewrite: Option<fn(&Rewrite<'_>)>,
}

impl UpgradePolicy {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            targets: Targets::DEFAULT,
            hosts: Hosts::upgradable(),
            ports: Ports::Keep,
            max_hold: 8192,
            is_report_only: false,
            on_rewrite: None,
        }
    }

    /// Which attributes are looked at. [`Targets::DEFAULT`] unless said.
    pub fn targets(self, targets: Targets) -> Self {
        Self { targets, ..self }
    }

    /// Which hosts are asked over https. [`Hosts::upgradable`] unless said.
    pub fn hosts(self, hosts: Hosts) -> Self {
        Self { hosts, ..self }
    }

    /// What becomes of explicit ports. [`Ports::Keep`] unless said.
    pub fn ports(self, ports: Ports) -> Self {
        Self { ports, ..self }
    }

    /// How many bytes of a `link` may wait for its `rel`. 8192 unless said. Beyond it the URL is left alone.
    pub fn max_hold(self, bytes: u64) -> Self {
        Self { max_hold: bytes, ..self }
    }

    /// Changes nothing; only the function of [`on_rewrite`](Self::on_rewrite) is told.
    pub fn report_only(self) -> Self {
        Self { is_report_only: true, ..self }
    }

    /// Is told of each URL of the page that is upgraded, or would be: for finding the templates that still write
    /// `http://`. `Link` fields are not told. It runs where the body is polled: keep it short; a panic of it is one of
    /// the body, or of the response future.
    ///
    /// ```
    /// use std::sync::Mutex;
    ///
    /// use tower_proxied::force_https_body::{UpgradePolicy, upgrade_fragment};
    ///
    /// static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());
    ///
    /// let policy = UpgradePolicy::new().report_only().on_rewrite(|url| {
    ///     let found = format!("{} {} {} at {}", url.element, url.attribute, url.host, url.offset);
    ///     FOUND.lock().unwrap().push(found);
    /// });
    /// let page = r#"<p><img src="http://cdn.example/a">"#;
    /// assert_eq!(upgrade_fragment(page, &policy), page);
    /// assert_eq!(*FOUND.lock().unwrap(), ["img src cdn.example at 13"]);
    /// ```
    pub fn on_rewrite(self, on_rewrite: fn(&Rewrite<'_>)) -> Self {
        Self { on_rewrite: Some(on_rewrite), ..self }
    }

    pub(super) fn may_hold(&self, from: u64, at: u64) -> bool {
        at.saturating_sub(from) <= self.max_hold
    }

    pub(super) fn admits(&self, host: &Host<'_>, port: UrlPort, own: Option<&HostPort<'static>>) -> bool {
        let is_port_fine = match (&self.ports, port) {
            (Ports::SkipExplicit, UrlPort::Written { port, .. }) => port == HTTP,
            (Ports::Keep | Ports::SkipExplicit | Ports::Map(_), _) => true,
        };
        is_port_fine && self.hosts.admit(host, own)
    }

    /// The port of the upgraded URL, which had this one: `None` is the port of https.
    pub(super) fn secure_port(&self, port: u16) -> Option<u16> {
        let port = match &self.ports {
            _ if port == HTTP => HTTPS,
            Ports::Map(map) => map.of(port),
            Ports::Keep | Ports::SkipExplicit => return Some(port),
        };
        (port != HTTPS).then_some(port)
    }

    /// A base gives its origin to all relative URLs of the page: it is upgraded where it is the page's own.
    pub(super) fn admits_base(
        &self,
        host: &Host<'_>,
        port: UrlPort,
        own: Option<&HostPort<'static>>,
    ) -> bool {
        let is_own = own.is_some_and(|own| {
            let is_own_port = match port {
                UrlPort::Written { port, .. } => {
                    self.secure_port(port).is_none_or(|port| own.port() == Some(port))
                }
                UrlPort::Absent => true,
            };
            own.host() == host && is_own_port
        });
        is_own && !is_local_name(host) && !self.hosts.denies(host)
    }
}

impl Default for UpgradePolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// A set of attributes that hold URLs; sets are joined by `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets(u8);

impl Targets {
    /// What a browser fetches as a part of the page (Mixed Content, section 5.3; Upgrade Insecure Requests,
    /// section 3.2): `src`, `srcset`, `poster`, `data`, `background` of the elements of HTML that have them; `href`
    /// and `imagesrcset` of `link` by its `rel`; `href` and `xlink:href` of `image`, `feImage`, `use` and `script` in
    /// SVG; `url(..)`, `@import` and `image-set(..)` in `style` attributes and elements; `href` of `base` where it is
    /// the page's own host. Always in the set.
    pub const DEFAULT: Self = Self(0);
    /// `action` of `form`, `formaction` of `button` and `input`.
    pub const FORM_ACTION: Self = Self(1);
    /// `href` of `link` whatever its `rel` is, `canonical` and `alternate` too.
    pub const LINK_ANY_REL: Self = Self(2);
    /// The URL of `<meta http-equiv=refresh>`.
    pub const META_REFRESH: Self = Self(4);
    /// Attributes `data-..`, from which scripts load images later. Those whose names end in `srcset` are read as such. Of
    /// two of one name both change, though a browser reads the first.
    pub const DATA_ATTRIBUTES: Self = Self(8);

    pub(super) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Default for Targets {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl BitOr for Targets {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

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
    fn denies(&self, host: &Host<'_>) -> bool {
        let is_unicode = matches!(host, Host::Name(name) if !name.is_ascii());
        any_matches(&self.deny, host) || (is_unicode && self.deny.iter().any(HostPattern::is_encoded))
    }

    fn admit(&self, host: &Host<'_>, own: Option<&HostPort<'static>>) -> bool {
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

const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// What becomes of a URL with a port that is not 80. `:80` always goes, since it says what the scheme says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ports {
    /// The URL is upgraded, and keeps its port: as browsers do.
    #[default]
    Keep,
    /// The URL is left alone.
    SkipExplicit,
    /// The URL is upgraded; ports that the map knows are replaced, others kept. See [`Ports::map`].
    Map(PortMap),
}

impl Ports {
    /// Pairs of a port that speaks http and the one that speaks https for it, on whatever host. 443 is written as
    /// no port.
    ///
    /// # Errors
    ///
    /// A pair with port 0, a pair from 80 (it is 443 then, and never written), and a second pair from one port.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_proxied::force_https_body::{Ports, UpgradePolicy, upgrade_fragment};
    ///
    /// let policy = UpgradePolicy::new().ports(Ports::map([(8080, 8443)])?);
    /// assert_eq!(
    ///     upgrade_fragment("<img src=http://h:8080/a><img src=http://h:3000/b>", &policy),
    ///     "<img src=https://h:8443/a><img src=https://h:3000/b>",
    /// );
    /// assert_eq!(Ports::map([(80, 8443)]).unwrap_err().pair(), (80, 8443));
    /// # Ok::<(), tower_proxied::force_https_body::PortMapError>(())
    /// ```
    pub fn map<I>(pairs: I) -> Result<Self, PortMapError>
    where
        I: IntoIterator<Item = (u16, u16)>,
    {
        let mut map: Vec<(u16, u16)> = Vec::new();
        for (http, https) in pairs {
            if http == 0 || https == 0 || http == HTTP || map.iter().any(|(known, _)| *known == http) {
                return Err(PortMapError { pair: (http, https) });
            }
            map.push((http, https));
        }
        Ok(Self::Map(PortMap(map)))
    }
}

/// Ports of http, each with its port of https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMap(Vec<(u16, u16)>);

impl PortMap {
    fn of(&self, port: u16) -> u16 {
        self.0.iter().find(|(http, _)| *http == port).map_or(port, |(_, https)| *https)
    }
}

/// A pair of ports that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapError {
    pair: (u16, u16),
}

impl PortMapError {
    /// The offending pair.
    pub fn pair(&self) -> (u16, u16) {
        self.pair
    }
}

impl fmt::Display for PortMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (http, https) = self.pair;
        write!(
            f,
            "port pair {http} -> {https} is refused: none may be 0, the first not 80, and stand there once"
        )
    }
}

impl std::error::Error for PortMapError {}

/// A URL that is upgraded, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewrite<'a> {
    /// The element's name, in lower case. Of more than 28 bytes only the start is told.
    pub element: &'a str,
    /// The attribute's name, likewise; empty for the text of a `style` element.
    pub attribute: &'a str,
    /// The host, as a browser reads it. It stands in the page: escape it before you print it.
    pub host: &'a str,
    /// Where the scheme stands in the page, in bytes.
    pub offset: u64,
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
fn is_local_name(host: &Host<'_>) -> bool {
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
    use bytes::Bytes;

    use super::super::engine::{Upgrader, upgrade_fragment, upgrade_url};
    use super::*;

    #[test]
    fn ports_by_the_map() {
        let policy = UpgradePolicy::new().ports(Ports::map([(8080, 8443), (8000, 443), (1, 65535)]).unwrap());
        for (page, upgraded) in [
            ("<img src=http://h:8080/a>", "<img src=https://h:8443/a>"),
            ("<img src=http://u:8080@h:008080?x>", "<img src=https://u:8080@h:8443?x>"),
            ("<img src=\"http://h&#58;80&#x38;0\">", "<img src=\"https://h:8443\">"),
            ("<img src=http://h:8000/a>", "<img src=https://h/a>"),
            ("<img src=http://h:1/a>", "<img src=https://h:65535/a>"),
            ("<img src=http://h:80/a>", "<img src=https://h/a>"),
            ("<img src=http://h/a>", "<img src=https://h/a>"),
            ("<img src=http://h:3000/a>", "<img src=https://h:3000/a>"),
            ("<img src=http://localhost:8080/a>", "<img src=http://localhost:8080/a>"),
            (
                "<img srcset='http://h:8080/a 1x, http://h:8000/b 2x'>",
                "<img srcset='https://h:8443/a 1x, https://h/b 2x'>",
            ),
            ("<link href=http://h:8080/a rel=icon>", "<link href=https://h:8443/a rel=icon>"),
        ] {
            assert_eq!(upgrade_fragment(page, &policy), upgraded);
            for cut in 0..page.len() {
                let mut upgrader = Upgrader::new(policy.clone());
                let (before, after) = page.as_bytes().split_at(cut);
                let mut seen = upgrader.push(Bytes::copy_from_slice(before)).to_vec();
                seen.extend(upgrader.push(Bytes::copy_from_slice(after)));
                seen.extend(upgrader.finish());
                assert_eq!(seen, upgraded.as_bytes(), "cut at {cut}");
            }
        }
        let url = upgrade_url(b"http://h:8080/", &policy, None).unwrap();
        assert_eq!(url, b"https://h:8443/");
    }

    #[test]
    fn a_base_by_the_port_that_it_gets() {
        let policy = UpgradePolicy::new().ports(Ports::map([(8080, 8443)]).unwrap());
        let upgrade = |own: &str| {
            let own = HostPort::parse(own.as_bytes()).unwrap();
            let mut upgrader = Upgrader::new(policy.clone()).own_host(own);
            let page = upgrader.push(Bytes::from("<base href=http://h:8080/>"));
            String::from_utf8(page.to_vec()).unwrap()
        };
        assert_eq!(upgrade("h:8443"), "<base href=https://h:8443/>");
        for other in ["h:8080", "h", "other:8443"] {
            assert_eq!(upgrade(other), "<base href=http://h:8080/>", "{other}");
        }
    }

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
        for pairs in [[(1, 2), (0, 8443)], [(1, 2), (8080, 0)], [(1, 2), (80, 8443)], [(1, 2), (1, 3)]] {
            let error = Ports::map(pairs).unwrap_err();
            assert_eq!(error.pair(), pairs[1]);
            assert!(error.to_string().contains(&format!("{} -> {}", pairs[1].0, pairs[1].1)), "{error}");
        }
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
