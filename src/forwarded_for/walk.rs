use std::fmt::Write as _;

use http::HeaderMap;

use super::claims::{self, Attested, Span};
use super::proxied::{Outcome, Proxied};
use super::source::Source;
use super::{Config, OnMalformed, OnNoClient};
use crate::trust::PeerAddr;
use crate::wire::forwarded::{self, ForwardedElement};
use crate::wire::list::{self, Element};
use crate::wire::node::Node;

/// What came of the walk, and which part of each field the trusted hops wrote.
pub(super) struct Walk {
    pub(super) proxied: Proxied,
    pub(super) is_refused: bool,
    pub(super) source: Option<Span>,
    pub(super) claims: Attested,
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

impl Stop<'_> {
    /// Nobody is named.
    fn end(self, outcome: Outcome) -> Self {
        Self { outcome, client: None, ..self }
    }
}

impl Config {
    /// The decisions, in the order of the module's documentation.
    pub(super) fn walk(&self, peer: Option<&PeerAddr>, headers: &HeaderMap) -> Walk {
        let mut walk = Walk {
            proxied: Proxied::new(Outcome::NoPeer, self.listener_scheme),
            is_refused: false,
            source: None,
            claims: Attested::default(),
        };
        if self.checks_peer {
            let Some(peer) = peer else {
                walk.is_refused = true;
                return walk;
            };
            if !self.trusted.trusts(Some(peer)) {
                walk.proxied.outcome = Outcome::Direct;
                if let PeerAddr::Tcp(address) = peer {
                    walk.proxied.name(address.ip().to_canonical(), Some(address.port()));
                }
                return walk;
            }
        }
        let stop = self.stop(headers);
        walk.proxied.outcome = stop.outcome;
        walk.proxied.trusted_hops = stop.trusted_hops;
        let on_no_client = match stop.outcome {
            Outcome::Missing => self.on_missing,
            Outcome::Obscured => self.on_obscured,
            _ => OnNoClient::Refuse,
        };
        match stop.client {
            Some((_, Node::Address { ip, port })) => walk.proxied.name(ip, port),
            _ => match on_no_client {
                OnNoClient::Anonymous => {}
                OnNoClient::UsePeer => walk.proxied.client = peer.and_then(PeerAddr::ip),
                OnNoClient::Refuse => {
                    let passes =
                        stop.outcome == Outcome::Malformed && self.on_malformed == OnMalformed::Anonymous;
                    walk.is_refused = !passes;
                    return walk;
                }
            },
        }
        match self.claims(&stop, headers, &mut walk.proxied) {
            Ok(claims) => {
                walk.claims = claims;
                walk.source = stop.client.map(|(element, _)| element.into());
            }
            Err(outcome) => {
                walk.proxied = Proxied::new(outcome, self.listener_scheme);
                walk.proxied.trusted_hops = stop.trusted_hops;
                walk.is_refused = true;
            }
        }
        walk
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
        let lines = list::lines(headers, self.source.name());
        match &self.source {
            Source::XForwardedFor => self.stop_in(list::from_right(lines)),
            Source::Forwarded => self.stop_in(forwarded::from_right(lines)),
            // A field of one address stands in one line, and commas mean nothing in it.
            Source::Single(_) | Source::CloudFront => {
                let mut elements = list::whole_from_right(lines);
                match (elements.next(), elements.next()) {
                    (_, Some(_)) => self.start().end(Outcome::Duplicate),
                    (element, None) => self.stop_in(element.into_iter()),
                }
            }
        }
    }

    fn start<'a>(&self) -> Stop<'a> {
        Stop { outcome: Outcome::Missing, position: 0, trusted_hops: self.hops_or(1), client: None }
    }

    fn stop_in<'a>(&self, elements: impl Iterator<Item = Element<'a>>) -> Stop<'a> {
        let mut stop = self.start();
        let read = self.source.reader();
        for (walked, element) in elements.enumerate() {
            if walked >= self.max_elements {
                return stop.end(Outcome::TooMany);
            }
            if element.bytes.is_empty() {
                continue;
            }
            stop.position = stop.position.saturating_add(1);
            let node = read(element.bytes);
            let is_trusted = matches!(node, Some(Node::Address { ip, .. }) if self.trusted.contains(ip));
            if self.hops.is_some_and(|hops| stop.position < hops) {
                if self.checks_peer && !is_trusted {
                    return stop.end(Outcome::UntrustedHop);
                }
                stop.outcome = Outcome::TooFew;
                continue;
            }
            let Some(node) = node else { return stop.end(Outcome::Malformed) };
            stop.client = Some((element, node));
            if node == Node::Obscured {
                stop.outcome = Outcome::Obscured;
                return stop;
            }
            if self.hops.is_some() || !is_trusted {
                stop.outcome = Outcome::Resolved;
                return stop;
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
            (true, false) if peer.is_none() => ": the service is wired wrongly",
            (true, false) => ": not in the trusted set, its forwarding headers are ignored",
        });
        if is_trusted {
            let stop = self.stop(headers);
            let lines = list::lines(headers, self.source.name());
            let elements: Vec<_> = match &self.source {
                Source::XForwardedFor => list::from_right(lines).collect(),
                Source::Forwarded => forwarded::from_right(lines).collect(),
                Source::Single(_) | Source::CloudFront => list::whole_from_right(lines).collect(),
            };
            let read = elements.iter().filter(|element| !element.bytes.is_empty()).take(stop.position);
            for (index, element) in read.enumerate() {
                let at = index.saturating_add(1);
                let reading = match self.source.reader()(element.bytes) {
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
        let mut claim = |name: &str, value: Option<&dyn std::fmt::Display>| {
            if let Some(value) = value {
                let _ = write!(text, "\nattested {name} {value}");
            }
        };
        claim("scheme", proxied.scheme.attested().map(|scheme| scheme as _));
        claim("host", proxied.host.attested().map(|host| host as _));
        claim("port", proxied.port.attested().map(|port| port as _));
        claim("prefix", proxied.prefix.attested().map(|prefix| prefix as _));
        if walk.is_refused {
            text.push_str("\nrefused");
        }
        text
    }
}
