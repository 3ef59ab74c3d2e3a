use std::fmt;
use std::ops::BitOr;

use super::engine::UrlPort;
use super::hosts::{Hosts, is_local_name};
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

    /// How many bytes of a `link` may wait for its `rel`, or of a `meta` for its `http-equiv`. 8192 unless said. Beyond it
    /// the URL is left alone.
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
    fn errors_name_the_item() {
        for pairs in [[(1, 2), (0, 8443)], [(1, 2), (8080, 0)], [(1, 2), (80, 8443)], [(1, 2), (1, 3)]] {
            let error = Ports::map(pairs).unwrap_err();
            assert_eq!(error.pair(), pairs[1]);
            assert!(error.to_string().contains(&format!("{} -> {}", pairs[1].0, pairs[1].1)), "{error}");
        }
    }
}
