use std::net::IpAddr;

use http::{HeaderName, header};

use crate::refusal::RefusalKind;
use crate::wire::host::{HostPort, Scheme};
use crate::wire::path::PathPrefix;

/// What the trusted proxies attest of a request: the extension that [`ForwardedFor`](crate::ForwardedFor)
/// leaves, and the only thing that other layers and the application need to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    pub(crate) client: Option<IpAddr>,
    pub(crate) client_port: Option<u16>,
    pub(crate) outcome: Outcome,
    pub(crate) trusted_hops: usize,
    pub(crate) listener_scheme: Scheme,
    pub(crate) claims_stand_in_forwarded: bool,
    pub(crate) scheme: Claim<Scheme>,
    pub(crate) host: Claim<HostPort<'static>>,
    pub(crate) port: Claim<u16>,
    pub(crate) prefix: Claim<PathPrefix>,
}

impl Proxied {
    pub(crate) fn new(outcome: Outcome, listener_scheme: Scheme) -> Self {
        Self {
            client: None,
            client_port: None,
            outcome,
            trusted_hops: 0,
            listener_scheme,
            claims_stand_in_forwarded: false,
            scheme: Claim::Undeclared,
            host: Claim::Undeclared,
            port: Claim::Undeclared,
            prefix: Claim::Undeclared,
        }
    }

    pub(crate) fn name(&mut self, client: IpAddr, port: Option<u16>) {
        (self.client, self.client_port) = (Some(client), port);
    }

    /// The client's address. A proxy's address only where the outcome is [`AllTrusted`](Outcome::AllTrusted),
    /// or where `UsePeer` was asked for.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The client's port, where it is known.
    pub fn client_port(&self) -> Option<u16> {
        self.client_port
    }

    /// How the walk ended.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The peer and each trusted element that was walked over; 0 for a stranger, n where n hops are counted.
    pub fn trusted_hops(&self) -> usize {
        self.trusted_hops
    }

    /// The scheme that the client used: the attested one, else the listener's own. `None` where a declared
    /// claim is missing or malformed.
    pub fn scheme(&self) -> Option<Scheme> {
        match self.scheme {
            Claim::Attested(scheme) => Some(scheme),
            Claim::Undeclared | Claim::Absent => Some(self.listener_scheme),
            Claim::Missing | Claim::Malformed => None,
        }
    }

    /// What [`scheme`](Self::scheme) comes from. Where it is a field, caches must know (`Vary`).
    pub fn scheme_source(&self) -> SchemeSource {
        match self.scheme {
            Claim::Undeclared => SchemeSource::Listener,
            _ if self.claims_stand_in_forwarded => SchemeSource::Field(header::FORWARDED),
            _ => SchemeSource::Field(super::claims::SCHEME),
        }
    }

    /// Whether the client came by https, for certain.
    pub fn is_secure(&self) -> bool {
        self.scheme() == Some(Scheme::Https)
    }

    /// The attested host, with its port as written.
    pub fn host(&self) -> Option<&HostPort<'static>> {
        self.host.attested()
    }

    /// The attested port, of its own field.
    pub fn port(&self) -> Option<u16> {
        self.port.attested().copied()
    }

    /// The attested prefix.
    pub fn prefix(&self) -> Option<&PathPrefix> {
        self.prefix.attested()
    }
}

/// How the walk through the trusted proxies ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The peer is no trusted proxy: it is the client, and nothing it says about forwarding counts.
    Direct,
    /// The rightmost address that is no trusted proxy's (or the n-th) is the client.
    Resolved,
    /// All addresses are trusted proxies'; the leftmost one is the client.
    AllTrusted,
    /// A trusted proxy sent no address.
    Missing,
    /// The attested element hides the client.
    Obscured,
    /// The attested element is no address.
    Malformed,
    /// More elements than `max_elements`.
    TooMany,
    /// Fewer elements than hops.
    TooFew,
    /// A field that must stand alone stands twice.
    Duplicate,
    /// A declared claim is absent.
    ClaimMissing,
    /// No peer information: a mistake in the wiring of the service.
    NoPeer,
    /// A counted hop is not in the trusted set.
    UntrustedHop,
}

impl Outcome {
    /// `None` where the walk ended with a client.
    pub(crate) fn refusal(self) -> Option<RefusalKind> {
        Some(match self {
            Self::Direct | Self::Resolved | Self::AllTrusted => return None,
            Self::Missing => RefusalKind::ClientMissing,
            Self::Obscured => RefusalKind::ClientObscured,
            Self::Malformed => RefusalKind::ClientMalformed,
            Self::TooMany => RefusalKind::TooManyHops,
            Self::TooFew => RefusalKind::TooFewHops,
            Self::Duplicate => RefusalKind::DuplicateField,
            Self::ClaimMissing => RefusalKind::ClaimMissing,
            Self::NoPeer => RefusalKind::NoPeer,
            Self::UntrustedHop => RefusalKind::UntrustedHop,
        })
    }
}

/// What decided the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemeSource {
    /// The listener's own scheme.
    Listener,
    /// A field that the trusted proxies write.
    Field(HeaderName),
}

/// A claim of the proxies, as far as it was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim<T> {
    Undeclared,
    /// Declared as optional, or the peer is a stranger: the connection's own value holds.
    Absent,
    /// Nobody said anything (a health probe).
    Missing,
    Malformed,
    Attested(T),
}

impl<T> Claim<T> {
    pub(crate) fn attested(&self) -> Option<&T> {
        match self {
            Self::Attested(value) => Some(value),
            _ => None,
        }
    }

    /// For a layer that is told to use the claim: `Ok(None)` is the connection's own value.
    pub(crate) fn usable(&self) -> Result<Option<&T>, RefusalKind> {
        match self {
            Self::Attested(value) => Ok(Some(value)),
            Self::Undeclared | Self::Absent => Ok(None),
            Self::Missing => Err(RefusalKind::ClaimMissing),
            Self::Malformed => Err(RefusalKind::ClaimMalformed),
        }
    }
}
