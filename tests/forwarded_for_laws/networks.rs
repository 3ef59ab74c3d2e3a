//! Networks, and the addresses that matter for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

pub(crate) fn network() -> impl Strategy<Value = IpNet> {
    let v4 = |bits, length| Ipv4Net::new(Ipv4Addr::from(bits), length).unwrap().trunc();
    let v6 = |bits, length| Ipv6Net::new(Ipv6Addr::from(bits), length).unwrap().trunc();
    prop_oneof![
        (any::<u32>(), 1..=32_u8).prop_map(move |(bits, length)| v4(bits, length).into()),
        // Neighbours, and networks in networks.
        (0..1024_u32, 22..=32_u8).prop_map(move |(bits, length)| v4((10 << 24) + bits, length).into()),
        (0..1024_u128, 118..=128_u8).prop_map(move |(bits, length)| v6((0xfd << 120) + bits, length).into()),
        // The upper half has no IPv4-mapped addresses in it: a network that holds them all is refused.
        (any::<u128>(), 1..=128_u8).prop_map(move |(bits, length)| v6(bits | (1 << 127), length).into()),
        (any::<u32>(), 97..=128_u8).prop_map(move |(bits, length)| v6(
            Ipv4Addr::from(bits).to_ipv6_mapped().into(),
            length
        )
        .into()),
    ]
}

/// The ends of a network, and the addresses beside it.
pub(crate) fn around(network: &IpNet) -> Vec<IpAddr> {
    match network {
        IpNet::V4(network) => {
            let (first, last) = (u32::from(network.network()), u32::from(network.broadcast()));
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                .map(|bits| Ipv4Addr::from(bits).into())
                .into()
        }
        IpNet::V6(network) => {
            let (first, last) = (u128::from(network.network()), u128::from(network.broadcast()));
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                .map(|bits| Ipv6Addr::from(bits).into())
                .into()
        }
    }
}

/// IPv4 as IPv4-mapped IPv6, and back.
pub(crate) fn other_form(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(address.to_ipv6_mapped().into()),
        IpAddr::V6(address) => address.to_ipv4_mapped().map(IpAddr::V4),
    }
}
