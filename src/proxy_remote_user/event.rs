use std::fmt;
use std::sync::Arc;

use http::HeaderName;

use crate::refusal::{Refusal, RefusalKind};
use crate::trust::PeerAddr;

/// What an operator may want to count or log: handed to the function of
/// [`on_event`](super::ProxyRemoteUserBuilder::on_event).
///
/// It holds the socket's peer, fixed texts and the names of identity headers, and nothing else of the request: no
/// value, no path, no user. A name is as the client spelled it, in lower case, and may end as the client likes where a
/// prefix decides (`x-remote-extra-…`). It is a token (RFC 9110, section 5.6.2), so that it cannot forge a line of a
/// log, but it can be as long as the server lets a header be.
///
/// Its text is for logs: `203.0.113.9:4711: identity headers without proof: remote-user`. A line for each request that
/// anybody forges can fill a disk: count them, or limit the lines.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    peer: Option<PeerAddr>,
    kind: EventKind<'a>,
}

impl<'a> Event<'a> {
    /// The socket's peer, if the server says who that is.
    pub fn peer(&self) -> Option<PeerAddr> {
        self.peer
    }

    /// What was seen.
    pub fn kind(&self) -> EventKind<'a> {
        self.kind
    }
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum EventKind<'a> {
    /// These identity headers came without proof, and are removed. A guess at the secret is among them: its header's
    /// name, not its value.
    Forged(&'a [&'a HeaderName]),
    /// A proven request held these other spellings of configured headers, and they are removed. The proxy lets its
    /// clients' through.
    AliasDropped(&'a [&'a HeaderName]),
    /// The request is refused; the response says the same.
    Refused(&'a Refusal),
    /// The server does not say who the peer is, so that nobody is believed: a mistake in the wiring.
    NoPeer,
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(PeerAddr::Tcp(peer)) => write!(f, "{peer}: ")?,
            Some(peer) => write!(f, "{peer:?}: ")?,
            None => f.write_str("unknown peer: ")?,
        }
        match self.kind {
            EventKind::Forged(headers) => list(f, "identity headers without proof", headers),
            EventKind::AliasDropped(headers) => list(f, "other spellings of identity headers", headers),
            EventKind::Refused(refusal) => write!(f, "refused: {refusal}"),
            EventKind::NoPeer => RefusalKind::NoPeer.fmt(f),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, headers: &[&HeaderName]) -> fmt::Result {
    f.write_str(what)?;
    for (index, header) in headers.iter().enumerate() {
        write!(f, "{} {header}", if index == 0 { ":" } else { "," })?;
    }
    Ok(())
}

/// Who is told. It sees the request's names alone, and returns nothing.
#[derive(Clone)]
pub(super) struct Observer(Arc<dyn Fn(&Event<'_>) + Send + Sync>);

impl Observer {
    pub(super) fn new(on_event: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(on_event))
    }

    pub(super) fn tell(&self, peer: Option<PeerAddr>, kind: EventKind<'_>) {
        (self.0)(&Event { peer, kind });
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer(..)")
    }
}
