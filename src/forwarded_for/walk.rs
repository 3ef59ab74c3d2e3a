use std::fmt::Write as _;

use http::HeaderMap;

use super::claims::{self, Attested, Span};
use super::proxied::{Outcome, Proxied};
use super::{Config, OnMalformed, OnNoClient};
use crate::trust::PeerAddr;
use crate::wire::forwarded::ForwardedElement;
use crate::wire::list::Element;
use crate::wire::node::Node;

/// What came of the walk, and which part of each field the trusted hops wrote.
pub(super) struct Walk {
    pub(super) proxied: Proxied,
    pub(super) is_refused: bool,
    pub(super) source: Option<Span>,
    pub(super) claims: Attested,
}

impl Walk {
    fn ended(proxied: Proxied, is_refused: bool) -> Self {
        Self { proxied, is_refused, source: None, claims: Attested::default() }
    }
}

/// Where the walk through the elements stopped.
struct Stop<'a> {
    outcome: Outcome,
    /// Elements that are not empty, up to and with the one that named the client.
    position: usize,
    trusted_hops: usize,
    /// The element that named the client, or hides it.
    client: Option<(Element<'a>, Node)>,
}

impl Config {
    /// The decisions, in the order of the module's documentation.
    pub(super) fn walk(&self, peer: Option<&PeerAddr>, headers: &HeaderMap) -> Walk {
        let ended = |outcome| Proxied::new(outcome, self.listener_scheme);
        if self.checks_peer {
            let Some(peer) = peer else { return Walk::ended(ended(Outcome::NoPeer), true) };
            if !self.trusted.trusts(Some(peer)) {
                let client_port = match peer {
                    PeerAddr::Tcp(address) => Some(address.port()),
                    PeerAddr::Unix => None,
                };
                let direct = Proxied { client: peer.ip(), client_port, ..ended(Outcome::Direct) };
                return Walk::ended(direct, false);
            }
        }
        let stop = self.stop(headers);
        let mut proxied = Proxied { trusted_hops: stop.trusted_hops, ..ended(stop.outcome) };
        let mut is_refused = match stop.outcome {
            Outcome::Missing => self.on_missing == OnNoClient::Refuse,
            Outcome::Obscured => self.on_obscured == OnNoClient::Refuse,
            Outcome::Malformed => self.on_malformed == OnMalformed::Refuse,
            outcome => outcome.refusal().is_some(),
        };
        let uses_peer = match stop.outcome {
            Outcome::Missing => self.on_missing == OnNoClient::UsePeer,
            Outcome::Obscured => self.on_obscured == OnNoClient::UsePeer,
            _ => false,
        };
        if uses_peer {
            proxied.client = peer.and_then(PeerAddr::ip);
        }
        if let Some((_, Node::Address { ip, port })) = stop.client {
            (proxied.client, proxied.client_port) = (Some(ip), port);
        }
        if is_refused || stop.outcome == Outcome::Malformed {
            return Walk::ended(proxied, is_refused);
        }
        let claims = match self.claims(&stop, headers, &mut proxied) {
            Ok(claims) => claims,
            Err(outcome) => {
                proxied = Proxied { trusted_hops: stop.trusted_hops, ..ended(outcome) };
                is_refused = true;
                Attested::default()
            }
        };
        Walk { proxied, is_refused, source: stop.client.map(|(element, _)| element.into()), claims }
    }

    fn claims(
        &self,
        stop: &Stop<'_>,
        headers: &HeaderMap,
        proxied: &mut Proxied,
    ) -> Result<Attested, Outcome> {
        if self.source.holds_claims() {
            if let Some(element) = stop.client.and_then(|(element, _)| ForwardedElement::parse(element.bytes))
            {
                claims::read_element(&element, proxied);
            }
            return Ok(Attested::default());
        }
        let position = (stop.position > 0).then_some(stop.position);
        self.claims.read(headers, position, self.hops_or(1), proxied)
    }

    fn stop<'a>(&self, headers: &'a HeaderMap) -> Stop<'a> {
        let mut stop =
            Stop { outcome: Outcome::Missing, position: 0, trusted_hops: self.hops_or(1), client: None };
        if self.source.is_duplicate(headers) {
            return Stop { outcome: Outcome::Duplicate, ..stop };
        }
        let mut walked = 0_usize;
        for element in self.source.elements(headers) {
            walked = walked.saturating_add(1);
            if walked > self.max_elements {
                return Stop { outcome: Outcome::TooMany, client: None, ..stop };
            }
            if element.bytes.is_empty() {
                continue;
            }
            stop.position = stop.position.saturating_add(1);
            let node = self.source.node(element.bytes);
            let is_trusted = matches!(node, Some(Node::Address { ip, .. }) if self.trusted.contains(ip));
            if self.hops.is_some_and(|hops| stop.position < hops) {
                if self.checks_peer && !is_trusted {
                    return Stop { outcome: Outcome::UntrustedHop, ..stop };
                }
                stop.outcome = Outcome::TooFew;
                continue;
            }
            match node {
                None => return Stop { outcome: Outcome::Malformed, client: None, ..stop },
                Some(Node::Obscured) => {
                    return Stop {
                        outcome: Outcome::Obscured,
                        client: Some((element, Node::Obscured)),
                        ..stop
                    };
                }
                Some(node) => stop.client = Some((element, node)),
            }
            if self.hops.is_some() || !is_trusted {
                return Stop { outcome: Outcome::Resolved, ..stop };
            }
            stop.outcome = Outcome::AllTrusted;
            stop.trusted_hops = stop.trusted_hops.saturating_add(1);
        }
        stop
    }

    /// The walk in words, a line each; client bytes are escaped.
    pub(super) fn explain(&self, peer: Option<&PeerAddr>, headers: &HeaderMap) -> String {
        let walk = self.walk(peer, headers);
        let mut text = match peer {
            Some(peer) => format!("peer {peer}"),
            None => String::from("no peer information"),
        };
        let is_trusted = !self.checks_peer || self.trusted.trusts(peer);
        text.push_str(match (self.checks_peer, is_trusted) {
            (false, _) => ": not checked (unchecked_hops)",
            (true, true) => ": a trusted proxy",
            (true, false) => ": not in the trusted set, its forwarding headers are ignored",
        });
        if is_trusted {
            let stop = self.stop(headers);
            let elements =
                self.source.elements(headers).filter(|element| !element.bytes.is_empty()).take(stop.position);
            for (index, element) in elements.enumerate() {
                let at = index.saturating_add(1);
                let reading = match self.source.node(element.bytes) {
                    None => "no address",
                    Some(Node::Obscured) => "hidden by the hop that wrote it",
                    Some(Node::Address { ip, .. }) if self.trusted.contains(ip) => "a trusted proxy",
                    Some(Node::Address { .. }) if self.hops.is_some_and(|hops| at < hops) => {
                        "counted as a hop"
                    }
                    Some(Node::Address { .. }) => "the client",
                };
                let _ = write!(
                    text,
                    "\nelement {at} from the right, \"{}\": {reading}",
                    element.bytes.escape_ascii()
                );
            }
        }
        let proxied = &walk.proxied;
        let _ = write!(text, "\noutcome {:?}", proxied.outcome);
        match proxied.client {
            Some(client) => {
                let _ = write!(text, ": client {client}, {} trusted hops", proxied.trusted_hops);
            }
            None => text.push_str(": no client"),
        }
        if walk.is_refused {
            text.push_str(", refused");
        }
        text
    }
}
