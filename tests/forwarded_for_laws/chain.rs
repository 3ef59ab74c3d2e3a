//! A chain of writers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderValue, header};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tower_proxied::forwarded_for::{Claims, Proxied, Written};
use tower_proxied::front::SetForwardedLayer;
use tower_proxied::{ForwardedForLayer, PathPrefix, PeerAddr, Scheme};

use crate::inner::{Refused, inner};
use crate::proxies::{Kind, a_proxy, trusted, untrusted};
use crate::seen;

#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) kind: Kind,
    pub(crate) is_first_an_edge: bool,
    pub(crate) tells_client_port: bool,
    pub(crate) client: SocketAddr,
    pub(crate) hops: Vec<Hop>,
}

/// A proxy of ours: where it speaks from, and what it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) address: IpAddr,
    pub(crate) host: String,
    pub(crate) scheme: Scheme,
    pub(crate) listener_port: u16,
    pub(crate) prefix: PathPrefix,
}

pub(crate) fn chain() -> impl Strategy<Value = Chain> {
    let host = prop_oneof![
        "[a-zA-Z][a-z0-9-]{0,8}(\\.[a-z]{2,5}){0,3}\\.?(:[1-9][0-9]{0,3})?",
        any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
        (any::<Ipv6Addr>(), 1_u16..).prop_map(|(ip, port)| format!("[{ip}]:{port}")),
    ];
    let prefix = "(/[a-z0-9.~-]{0,3}[a-z]){1,3}".prop_map(|text| PathPrefix::parse(&text).unwrap());
    let scheme = select(&[Scheme::Http, Scheme::Https][..]);
    let hop = (a_proxy(), host, scheme, 1_u16.., prefix).prop_map(
        |(address, host, scheme, listener_port, prefix)| Hop { address, host, scheme, listener_port, prefix },
    );
    let client = (untrusted(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port));
    (select(&[Kind::XForwardedFor, Kind::Forwarded][..]), any::<[bool; 2]>(), client, vec(hop, 1..5))
        .prop_map(|(kind, [is_first_an_edge, tells_client_port], client, hops)| Chain {
            kind,
            is_first_an_edge,
            tells_client_port,
            client,
            hops,
        })
}

impl Chain {
    /// Through all hops to the application.
    pub(crate) fn read(&self, sent: HeaderMap) -> Result<(HeaderMap, Proxied), Refused> {
        let mut peer = PeerAddr::Tcp(self.client);
        let mut headers = sent;
        for (at, hop) in self.hops.iter().enumerate() {
            let layer = match (self.kind, self.is_first_an_edge && at == 0) {
                (Kind::XForwardedFor, true) => SetForwardedLayer::edge(),
                (Kind::XForwardedFor, false) => SetForwardedLayer::appending(),
                (Kind::Forwarded, true) => SetForwardedLayer::forwarded_edge(),
                (Kind::Forwarded, false) => SetForwardedLayer::forwarded_appending(),
            };
            let layer =
                layer.listener_scheme(hop.scheme).listener_port(hop.listener_port).prefix(hop.prefix.clone());
            let layer = if self.tells_client_port { layer.client_port() } else { layer };
            headers.insert(header::HOST, HeaderValue::from_str(&hop.host).unwrap());
            headers = inner(&layer, peer, headers)?.headers;
            peer = PeerAddr::Tcp(SocketAddr::new(hop.address, 4711));
        }
        headers.remove(header::HOST);
        let reader = match self.kind {
            Kind::XForwardedFor => ForwardedForLayer::x_forwarded_for(trusted()).claims(self.claims()),
            Kind::Forwarded => ForwardedForLayer::forwarded(trusted()),
        };
        inner(&reader, peer, headers).map(seen)
    }

    fn claims(&self) -> Claims {
        // An edge alone writes each field anew.
        let is_set = self.is_first_an_edge && self.hops.len() == 1;
        let written = if is_set { Written::Set } else { Written::Appended };
        Claims::none().scheme(written).host(written).port(written).prefix(written)
    }
}
