use std::net::IpAddr;
use std::ops::BitOr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use super::PeerAddr;
use super::parse::{
    LOOPBACK_V4, LOOPBACK_V6, PRIVATE_V4, PRIVATE_V6, Problem, Range, TrustedProxiesError, parse_all,
    range_of,
};

/// The set of proxies that are believed.
///
/// Items are networks (`10.0.0.0/8`), single addresses (`10.0.0.5`), dotted netmasks (`10.0.0.0/255.0.0.0`)
/// and the names `loopback`, `private` and `unix:` (every peer of a unix socket). IPv4-mapped IPv6 is IPv4,
/// in the list as in the peer.
///
/// Prefer the narrowest set that works: whoever has an address in it decides who the client is.
///
/// # Example
///
/// ```
/// use tower_proxied::TrustedProxies;
///
/// let trusted = TrustedProxies::parse(["10.0.0.0/8", "fd00::/64", "unix:"])?;
/// assert!(trusted.contains("10.1.2.3".parse()?));
/// assert!(trusted.contains("::ffff:10.1.2.3".parse()?));
/// assert!(!trusted.contains("11.0.0.1".parse()?));
///
/// let mistake = TrustedProxies::parse(["10.0.0.5/8"]).unwrap_err();
/// assert_eq!(mistake.item(), "10.0.0.5/8");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    unix: bool,
    #[cfg(feature = "reload")]
    pub(super) followed: Vec<super::SharedProxies>,
}

/// Sorted, disjoint, not adjacent.
type Ranges<T> = Arc<[(T, T)]>;

impl TrustedProxies {
    /// Nobody is believed.
    pub fn none() -> Self {
        Self::from_ranges(Vec::new(), Vec::new(), false)
    }

    /// `127.0.0.0/8` and `::1`.
    pub fn loopback() -> Self {
        Self::from_ranges(vec![LOOPBACK_V4], vec![LOOPBACK_V6], false)
    }

    /// `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16` and `fc00::/7`.
    ///
    /// Every client on the same LAN, VPN or pod network is then believed too: prefer the proxies' own
    /// addresses, or combine the set with [`hops`](crate::ForwardedForLayer::hops).
    pub fn private() -> Self {
        Self::from_ranges(PRIVATE_V4.to_vec(), vec![PRIVATE_V6], false)
    }

    /// Every peer of a unix socket: who may connect is the file system's business.
    pub fn unix() -> Self {
        Self::from_ranges(Vec::new(), Vec::new(), true)
    }

    /// Every peer is believed. Any client can then say what it likes, unless no client can reach the
    /// listener but through a proxy.
    pub fn everyone_dangerously() -> Self {
        Self::from_ranges(vec![(0, u32::MAX)], vec![(0, u128::MAX)], true)
    }

    /// Parses a list of items, strictly.
    ///
    /// # Errors
    ///
    /// An item with host bits set (`10.0.0.5/8`), of length zero (`/0`), a host name, a zone, blanks, an
    /// empty text, or a mapped prefix that is no IPv4 network; the error names the item. No item at all, which would
    /// make every client the proxy itself.
    pub fn parse<I>(items: I) -> Result<Self, TrustedProxiesError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        parse_all(items, range_of)
    }

    /// The same, but `0.0.0.0/0` stands for all of IPv4 (mapped addresses too) and `::/0` for all of IPv6. See
    /// [`everyone_dangerously`](Self::everyone_dangerously).
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse), but for the length of zero.
    pub fn parse_dangerously<I>(items: I) -> Result<Self, TrustedProxiesError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        parse_all(items, |network| match network {
            IpNet::V4(network) if network.addr().is_unspecified() && network.prefix_len() == 0 => {
                Ok(Range::V4((0, u32::MAX)))
            }
            IpNet::V6(network) if network.addr().is_unspecified() && network.prefix_len() == 0 => {
                Ok(Range::V6((0, u128::MAX)))
            }
            network => range_of(network),
        })
    }

    /// The same for networks that were parsed elsewhere.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse).
    pub fn from_networks<I>(networks: I) -> Result<Self, TrustedProxiesError>
    where
        I: IntoIterator<Item = IpNet>,
    {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for network in networks {
            match range_of(network).map_err(|problem| problem.of(network))? {
                Range::V4(range) => v4.push(range),
                Range::V6(range) => v6.push(range),
            }
        }
        Ok(Self::from_ranges(v4, v6, false))
    }

    /// Whether this address is a trusted proxy's.
    pub fn contains(&self, address: IpAddr) -> bool {
        let is_here = match address.to_canonical() {
            IpAddr::V4(address) => in_ranges(&self.v4, u32::from(address)),
            IpAddr::V6(address) => in_ranges(&self.v6, u128::from(address)),
        };
        is_here || self.follows_to(|set| set.contains(address))
    }

    /// Whether this peer is a trusted proxy. No peer information is never trusted.
    pub fn trusts(&self, peer: Option<&PeerAddr>) -> bool {
        match peer {
            Some(PeerAddr::Tcp(address)) => self.contains(address.ip()),
            Some(PeerAddr::Unix) => self.unix || self.follows_to(|set| set.unix),
            None => false,
        }
    }

    /// Whether nobody is believed.
    pub fn is_none(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty() && !self.unix && !self.follows()
    }

    #[cfg(feature = "reload")]
    fn follows(&self) -> bool {
        !self.followed.is_empty()
    }

    #[cfg(not(feature = "reload"))]
    fn follows(&self) -> bool {
        false
    }

    /// Whether it is so in a set that this one follows.
    #[cfg(feature = "reload")]
    fn follows_to(&self, is_so: impl Fn(&Self) -> bool) -> bool {
        self.followed.iter().any(|shared| is_so(&shared.load()))
    }

    #[cfg(not(feature = "reload"))]
    fn follows_to(&self, _: impl Fn(&Self) -> bool) -> bool {
        false
    }

    /// The same set, following nothing.
    #[cfg(feature = "reload")]
    pub(super) fn into_snapshot(mut self) -> Self {
        let followed = std::mem::take(&mut self.followed);
        followed.iter().fold(self, |set, shared| set | TrustedProxies::clone(&shared.load()))
    }

    pub(super) fn from_ranges(v4: Vec<(u32, u32)>, v6: Vec<(u128, u128)>, unix: bool) -> Self {
        Self {
            v4: merged(v4, |end| end.checked_add(1)),
            v6: merged(v6, |end| end.checked_add(1)),
            unix,
            #[cfg(feature = "reload")]
            followed: Vec::new(),
        }
    }
}

impl BitOr for TrustedProxies {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            #[cfg(feature = "reload")]
            followed: [self.followed, other.followed].concat(),
            ..Self::from_ranges(
                [&*self.v4, &*other.v4].concat(),
                [&*self.v6, &*other.v6].concat(),
                self.unix || other.unix,
            )
        }
    }
}

/// Items separated by commas or blanks.
impl FromStr for TrustedProxies {
    type Err = TrustedProxiesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Err(Problem::Empty.of(text));
        }
        let items = text.split(',').flat_map(|part| match part.trim() {
            "" => vec![""],
            part => part.split_ascii_whitespace().collect(),
        });
        parse_all(items, range_of)
    }
}

fn merged<T: Copy + Ord>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Ranges<T> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if next(*end).is_none_or(|next| first <= next) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged.into()
}

fn in_ranges<T: Copy + Ord>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| address <= *last)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn set(items: &[&str]) -> TrustedProxies {
        TrustedProxies::parse(items).unwrap()
    }

    #[test]
    fn names_stand_for_their_networks() {
        assert_eq!(
            TrustedProxies::private(),
            set(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"])
        );
        assert_eq!(TrustedProxies::loopback(), set(&["127.0.0.0/8", "::1"]));
        assert_eq!("loopback, unix:".parse(), Ok(TrustedProxies::loopback() | TrustedProxies::unix()));
    }

    #[test]
    fn refused_items_are_named() {
        for item in [
            "",
            " ",
            "10.0.0.5/8",
            "0.0.0.0/0",
            "::/0",
            "::ffff:0:0/96",
            "::ffff:0:0/90",
            "localhost",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "fe80::1%eth0",
            " 10.0.0.1",
            "10.0.0.1 ",
            "10.0.0.0/255.0.255.0",
            "*",
            "unix",
        ] {
            let error = TrustedProxies::parse(["10.0.0.0/8", item]).expect_err(item);
            assert_eq!(error.item(), item);
            assert!(error.to_string().contains(&format!("{item:?}")), "{error}");
        }
        assert!("".parse::<TrustedProxies>().is_err());
        let nothing = TrustedProxies::parse(Vec::<String>::new()).unwrap_err();
        assert!(nothing.to_string().contains("TrustedProxies::none()"), "{nothing}");
        assert!(TrustedProxies::parse_dangerously(["10.0.0.0/0"]).is_err());
        for (item, hint) in [
            ("localhost", "not resolved"),
            ("10.0.0.5, 10.0.0.6", "one by one"),
            ("10.0.0.5:80", "no port"),
            ("[::1]", "no brackets"),
            ("*", "everyone_dangerously"),
        ] {
            let error = TrustedProxies::parse([item]).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
        assert!("10.0.0.1,,10.0.0.2".parse::<TrustedProxies>().is_err());
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let trusted = set(&["::ffff:10.0.0.0/104"]);
        assert_eq!(trusted, set(&["10.0.0.0/8"]));
        assert!(trusted.contains("::ffff:10.2.3.4".parse().unwrap()));
    }

    #[test]
    fn trusts_looks_at_the_kind_of_peer() {
        let loopback = TrustedProxies::loopback();
        assert!(loopback.trusts(Some(&PeerAddr::Tcp("127.0.0.1:1".parse().unwrap()))));
        assert!(!loopback.trusts(Some(&PeerAddr::Unix)));
        assert!(!TrustedProxies::everyone_dangerously().trusts(None));
        assert!(TrustedProxies::unix().trusts(Some(&PeerAddr::Unix)));
        assert!(TrustedProxies::none().is_none());
    }

    fn some_networks() -> impl Strategy<Value = Vec<IpNet>> {
        let v4 =
            (any::<u32>(), 1..=32u8).prop_map(|(bits, len)| IpNet::new(Ipv4Addr::from(bits).into(), len));
        let v6 = (any::<u16>(), 8..=16u8)
            .prop_map(|(bits, len)| IpNet::new(Ipv6Addr::from(u128::from(bits) << 112).into(), len));
        prop::collection::vec(prop_oneof![v4, v6].prop_map(|network| network.unwrap().trunc()), 0..40)
    }

    proptest! {
        #[test]
        fn set_is_a_naive_scan(
            networks in some_networks(),
            v4 in any::<u32>(), v6 in any::<u128>(), near in any::<prop::sample::Index>(),
        ) {
            let networks: Vec<_> =
                networks.into_iter().filter(|network| !network.contains(&IpAddr::V6(Ipv6Addr::UNSPECIFIED))).collect();
            let set = TrustedProxies::from_networks(networks.iter().copied()).unwrap();
            let mut addresses = vec![IpAddr::from(Ipv4Addr::from(v4)), IpAddr::from(Ipv6Addr::from(v6))];
            if !networks.is_empty() {
                addresses.push(near.get(&networks).broadcast());
                addresses.push(near.get(&networks).network());
            }
            for address in addresses {
                prop_assert_eq!(set.contains(address), networks.iter().any(|network| network.contains(&address)));
            }
        }
    }
}
