use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::TrustedProxies;

/// An item of a trust list that is refused. [`item`](Self::item) says which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxiesError {
    item: Box<str>,
    problem: Problem,
}

impl TrustedProxiesError {
    /// The offending item, as written.
    pub fn item(&self) -> &str {
        &self.item
    }
}

impl fmt::Display for TrustedProxiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::NoItem => {
                return f.write_str(
                    "no trusted proxy at all would make every client the proxy itself; say TrustedProxies::none() if that is meant",
                );
            }
            Problem::Empty => "it is empty; write an address, a network, `loopback`, `private` or `unix:`",
            Problem::Syntax => "it is neither an address, a network, `loopback`, `private` nor `unix:`",
            Problem::Name => {
                "host names are not resolved; write the address, or `loopback`, `private`, `unix:`"
            }
            Problem::Several => {
                "it is more than one item; give them one by one, or parse the whole text as a TrustedProxies"
            }
            Problem::Port => "an address has no port and no brackets here",
            Problem::HostBits => "it has host bits set; write the network, or the address alone",
            Problem::Everyone => {
                "it holds every address; say TrustedProxies::everyone_dangerously() if that is meant"
            }
            Problem::Straddles => "it is wider than the IPv4-mapped block",
        };
        write!(f, "trusted proxy {:?} is refused: {problem}", self.item)
    }
}

impl std::error::Error for TrustedProxiesError {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NoItem,
    Empty,
    Syntax,
    Name,
    Several,
    Port,
    HostBits,
    Everyone,
    Straddles,
}

impl Problem {
    pub(super) fn of(self, item: impl ToString) -> TrustedProxiesError {
        TrustedProxiesError { item: item.to_string().into(), problem: self }
    }
}

pub(super) enum Range {
    V4((u32, u32)),
    V6((u128, u128)),
}

pub(super) const LOOPBACK_V4: (u32, u32) = (0x7f00_0000, 0x7fff_ffff);
pub(super) const LOOPBACK_V6: (u128, u128) = (1, 1);
pub(super) const PRIVATE_V4: [(u32, u32); 3] =
    [(0x0a00_0000, 0x0aff_ffff), (0xac10_0000, 0xac1f_ffff), (0xc0a8_0000, 0xc0a8_ffff)];
pub(super) const PRIVATE_V6: (u128, u128) = (0xfc << 120, (0xfe << 120) - 1);
const MAPPED_BLOCK: (u128, u128) = (0xffff_0000_0000, 0xffff_ffff_ffff);

pub(super) fn parse_all<I>(
    items: I,
    range_of: impl Fn(IpNet) -> Result<Range, Problem>,
) -> Result<TrustedProxies, TrustedProxiesError>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let mut read = Items::default();
    for item in items {
        let item = item.as_ref();
        read.push(item, &range_of).map_err(|problem| problem.of(item))?;
    }
    if read.is_empty() {
        return Err(Problem::NoItem.of(""));
    }
    Ok(TrustedProxies::from_ranges(read.v4, read.v6, read.unix))
}

/// The items of a list, not yet sorted.
#[derive(Default)]
struct Items {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    unix: bool,
}

impl Items {
    fn push(
        &mut self,
        item: &str,
        range_of: impl Fn(IpNet) -> Result<Range, Problem>,
    ) -> Result<(), Problem> {
        match item {
            "" => return Err(Problem::Empty),
            "loopback" => {
                self.v4.push(LOOPBACK_V4);
                self.v6.push(LOOPBACK_V6);
            }
            "private" => {
                self.v4.extend(PRIVATE_V4);
                self.v6.push(PRIVATE_V6);
            }
            "unix:" => self.unix = true,
            _ => match network(item).ok_or_else(|| what_is_wrong_with(item)).and_then(range_of)? {
                Range::V4(range) => self.v4.push(range),
                Range::V6(range) => self.v6.push(range),
            },
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty() && !self.unix
    }
}

/// The likely mistake in what is no network.
fn what_is_wrong_with(item: &str) -> Problem {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if item == "*" {
        Problem::Everyone
    } else if item.trim() != item {
        Problem::Syntax
    } else if item.contains([',', ' ', '\t']) {
        Problem::Several
    } else if item.starts_with('[') || item.parse::<std::net::SocketAddr>().is_ok() {
        Problem::Port
    } else if item.bytes().all(is_name) && item.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        Problem::Name
    } else {
        Problem::Syntax
    }
}

/// An address, `address/length` or `address/netmask`; no leading zero in the length.
fn network(item: &str) -> Option<IpNet> {
    let Some((address, mask)) = item.split_once('/') else {
        return item.parse::<IpAddr>().ok().map(IpNet::from);
    };
    if mask.contains('.') {
        return IpNet::with_netmask(address.parse().ok()?, mask.parse::<Ipv4Addr>().ok()?.into()).ok();
    }
    let is_canonical = mask == "0" || mask.bytes().next().is_some_and(|digit| digit != b'0' && digit != b'+');
    IpNet::new(address.parse().ok()?, mask.parse().ok().filter(|_| is_canonical)?).ok()
}

pub(super) fn range_of(network: IpNet) -> Result<Range, Problem> {
    if network.prefix_len() == 0 {
        return Err(Problem::Everyone);
    }
    if network.addr() != network.network() {
        return Err(Problem::HostBits);
    }
    match network {
        IpNet::V4(network) => Ok(Range::V4((network.network().into(), network.broadcast().into()))),
        IpNet::V6(network) => {
            let (first, last) = (u128::from(network.network()), u128::from(network.broadcast()));
            if first == MAPPED_BLOCK.0 && last == MAPPED_BLOCK.1 {
                return Err(Problem::Everyone);
            }
            if first <= MAPPED_BLOCK.0 && last >= MAPPED_BLOCK.1 {
                return Err(Problem::Straddles);
            }
            let mapped = |bits: u128| Ipv6Addr::from(bits).to_ipv4_mapped().map(u32::from);
            Ok(match (mapped(first), mapped(last)) {
                (Some(first), Some(last)) => Range::V4((first, last)),
                _ => Range::V6((first, last)),
            })
        }
    }
}
