use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::TrustedProxies;

/// A set of proxies that can be replaced while requests are served, such as one that follows a cloud's published
/// ranges. No request waits for it.
///
/// # Example
///
/// ```
/// use tower_proxied::trust::{SharedProxies, TrustedProxies};
///
/// let published = SharedProxies::new(TrustedProxies::parse(["192.0.2.0/24"])?);
/// // Goes into layers, alone or with others.
/// let trusted = published.trusted() | TrustedProxies::loopback();
/// assert!(!trusted.contains("198.51.100.7".parse()?));
///
/// published.replace(TrustedProxies::parse(["192.0.2.0/24", "198.51.100.0/24"])?);
/// assert!(trusted.contains("198.51.100.7".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SharedProxies(Arc<ArcSwap<TrustedProxies>>);

impl SharedProxies {
    /// Starts with this set.
    pub fn new(trusted: TrustedProxies) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(trusted.into_snapshot())))
    }

    /// Believes these from the next request on. Of a set that follows others, what it is now is taken.
    pub fn replace(&self, trusted: TrustedProxies) {
        self.0.store(Arc::new(trusted.into_snapshot()));
    }

    /// A set that follows this one.
    pub fn trusted(&self) -> TrustedProxies {
        let mut trusted = TrustedProxies::none();
        trusted.followed.push(self.clone());
        trusted
    }

    pub(super) fn load(&self) -> arc_swap::Guard<Arc<TrustedProxies>> {
        self.0.load()
    }
}

impl fmt::Debug for SharedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedProxies").field(&*self.load()).finish()
    }
}

/// The same handle, not the same content.
impl PartialEq for SharedProxies {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedProxies {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_follows_itself_is_taken_as_it_is() {
        let shared = SharedProxies::new(TrustedProxies::loopback());
        shared.replace(shared.trusted() | TrustedProxies::unix());
        assert!(shared.trusted().contains([127, 0, 0, 1].into()));
        assert!(shared.trusted().trusts(Some(&crate::PeerAddr::Unix)));
        shared.replace(TrustedProxies::none());
        assert!(!shared.trusted().contains([127, 0, 0, 1].into()));
        assert!(!shared.trusted().is_none(), "it may be filled later");
    }
}
