use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::allowed::AllowedHosts;
use super::patterns::{Covers, Patterns, Ports};
use super::public_url::PublicUrl;
use crate::wire::host::{HostPort, Scheme};

/// One of several public sites of an application. [`ForcedHost`](crate::ForcedHost) leaves it in the extensions of
/// each request that is for it. Cloning it allocates nothing.
#[derive(Clone, Debug)]
#[must_use]
pub struct Site {
    name: Arc<str>,
    public: PublicUrl,
    also_at: Option<AllowedHosts>,
}

impl Site {
    /// The site that stands at `public`, and is asked for by its host and port. The name is for the code.
    pub fn new(name: &str, public: PublicUrl) -> Self {
        Self { name: name.into(), public, also_at: None }
    }

    /// More hosts by which this site is asked for. Its links lead to its own URL all the same.
    pub fn also_at(mut self, hosts: AllowedHosts) -> Self {
        self.also_at = Some(hosts);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the site stands.
    pub fn public_url(&self) -> &PublicUrl {
        &self.public
    }
}

/// The public sites of an application that serves several, such as one for each tenant.
///
/// A request is for the site whose own host and port it asks for, whatever the scheme; else for the first one whose
/// [`also_at`](Site::also_at) allows them. Paths tell no sites apart: what stands at one host under two prefixes is
/// two applications, each with layers of its own. What a search costs does not grow with the number of sites.
///
/// # Example
///
/// ```
/// use tower_proxied::PublicUrl;
/// use tower_proxied::forced_host::{AllowedHosts, Site, Sites};
///
/// let sites = Sites::new([
///     Site::new("shop", PublicUrl::parse("https://shop.example.com/store")?),
///     Site::new("blog", PublicUrl::parse("https://blog.example.com")?)
///         .also_at(AllowedHosts::parse([".blog.example"])?),
/// ])?;
/// // In a job, without a request:
/// let shop = sites.get("shop").unwrap();
/// assert_eq!(shop.absolute("/orders/7")?, "https://shop.example.com/store/orders/7");
/// assert!(sites.get("wiki").is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Sites(Arc<Index>);

#[derive(Debug)]
struct Index {
    sites: Box<[Site]>,
    by_name: HashMap<Arc<str>, usize>,
    /// Ranks are positions of sites.
    own: Patterns,
    also: Patterns,
    /// The first site that is also at any host.
    anywhere: Option<usize>,
}

impl Sites {
    /// All sites.
    ///
    /// # Errors
    ///
    /// No site at all, a name that stands twice, and two sites at one host and port, where 80 and 443 are one: the
    /// error holds the name.
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Result<Self, SitesError> {
        let sites: Box<[Site]> = sites.into_iter().collect();
        if sites.is_empty() {
            return Err(Problem::Nothing.of(""));
        }
        let (mut by_name, mut own, mut also) = (HashMap::new(), Patterns::default(), Patterns::default());
        let mut anywhere = None;
        for (position, site) in sites.iter().enumerate() {
            if by_name.insert(Arc::clone(&site.name), position).is_some() {
                return Err(Problem::SameName.of(&site.name));
            }
            let authority = site.public.authority();
            if own.rank(site.public.scheme(), authority).is_some() {
                return Err(Problem::SameHost.of(&site.name));
            }
            own.add(Covers::Host, authority.host().clone(), Ports::of(authority), position);
            match site.also_at.as_ref().map(AllowedHosts::patterns) {
                Some(Some(patterns)) => also.add_all(patterns, position),
                Some(None) => anywhere = anywhere.or(Some(position)),
                None => {}
            }
        }
        Ok(Self(Arc::new(Index { sites, by_name, own, also, anywhere })))
    }

    /// Where the site of this name stands.
    pub fn get(&self, name: &str) -> Option<&PublicUrl> {
        let position = self.0.by_name.get(name)?;
        self.0.sites.get(*position).map(Site::public_url)
    }

    /// All sites, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Site> {
        self.0.sites.iter()
    }

    pub(super) fn asked_for(&self, scheme: Scheme, host: &HostPort<'_>) -> Option<&Site> {
        let Index { sites, own, also, anywhere, .. } = &*self.0;
        let also = || also.rank(scheme, host).into_iter().chain(*anywhere).min();
        own.rank(scheme, host).or_else(also).and_then(|position| sites.get(position))
    }
}

/// A list that is no [`Sites`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SitesError {
    name: Box<str>,
    problem: Problem,
}

impl SitesError {
    /// The name of the offending site; empty where there is none at all.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Nothing,
    SameName,
    SameHost,
}

impl Problem {
    fn of(self, name: &str) -> SitesError {
        SitesError { name: name.into(), problem: self }
    }
}

impl fmt::Display for SitesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            Problem::Nothing => f.write_str("sites: none at all would refuse every request"),
            Problem::SameName => write!(f, "site {:?} is refused: another site has its name", self.name),
            Problem::SameHost => {
                write!(f, "site {:?} is refused: another site has its host and port", self.name)
            }
        }
    }
}

impl std::error::Error for SitesError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(name: &str, public: &'static str) -> Site {
        Site::new(name, PublicUrl::from_static(public))
    }

    #[test]
    fn the_own_host_wins_over_a_list_of_an_earlier_site() {
        let sites = Sites::new([
            site("all", "https://www.example.com").also_at(AllowedHosts::from_static(&[".example.com"])),
            site("shop", "https://shop.example.com"),
            site("admin", "https://www.example.com:8443/x"),
        ])
        .unwrap();
        let asked_for = |host: &str| {
            let host = HostPort::parse(host.as_bytes()).unwrap();
            sites.asked_for(Scheme::Http, &host).map(Site::name)
        };
        assert_eq!(asked_for("shop.example.com"), Some("shop"));
        assert_eq!(asked_for("Blog.example.com"), Some("all"));
        assert_eq!(asked_for("www.example.com:443"), Some("all"));
        assert_eq!(asked_for("www.example.com:8443"), Some("admin"));
        assert_eq!(asked_for("www.example.com:1"), None);
        assert_eq!(asked_for("example.org"), None);
    }

    #[test]
    fn errors_name_the_site() {
        let error = |sites: Vec<Site>| Sites::new(sites).unwrap_err().name().to_owned();
        assert_eq!(error(vec![]), "");
        assert_eq!(error(vec![site("a", "https://a"), site("a", "https://b")]), "a");
        assert_eq!(error(vec![site("a", "https://a/x"), site("b", "http://A./y")]), "b");
    }

    fn naive<'a>(sites: &'a [Site], scheme: Scheme, host: &HostPort<'_>) -> Option<&'a Site> {
        let own = sites.iter().find(|site| site.public.authority().is_same_place(host));
        let is_also_at = |site: &&Site| site.also_at.as_ref().is_some_and(|hosts| hosts.allows(scheme, host));
        own.or_else(|| sites.iter().find(is_also_at))
    }

    proptest! {
        #[test]
        fn the_index_is_a_scan_of_the_sites(
            publics in prop::collection::btree_set("https?://[ab]\\.[ab](|:80|:443|:81)", 1..5),
            also in prop::collection::vec(("(|\\.|\\*\\.)([ab]\\.)?[ab](|:80|:81)", 0..6_u8), 5),
            asked in prop::collection::vec("([abA]\\.){0,2}[ab](|:80|:443|:81|:82)", 1..9),
            is_https: bool,
        ) {
            let scheme = if is_https { Scheme::Https } else { Scheme::Http };
            let sites: Vec<Site> = publics
                .iter()
                .zip(&also)
                .map(|(public, (also, kind))| {
                    let site = Site::new(public, PublicUrl::parse(public).unwrap());
                    match kind {
                        0 => site.also_at(AllowedHosts::any()),
                        1 => site.also_at(AllowedHosts::parse([also]).unwrap().any_port()),
                        2 => site,
                        _ => site.also_at(AllowedHosts::parse([also]).unwrap()),
                    }
                })
                .collect();
            let Ok(index) = Sites::new(sites.clone()) else { return Ok(()) };
            for host in asked {
                let host = HostPort::parse(host.as_bytes()).unwrap();
                let found = index.asked_for(scheme, &host).map(Site::name);
                prop_assert_eq!(found, naive(&sites, scheme, &host).map(Site::name), "{}", host);
            }
        }
    }
}
