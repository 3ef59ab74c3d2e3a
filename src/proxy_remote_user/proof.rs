use std::fmt;
use std::ops::{BitAnd, BitOr};
use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderName, request};

use super::secret::Secret;
use crate::trust::{PeerAddr, TrustedProxies};
use crate::wire::list;

/// What shows that a request comes from the proxy, and not from a client that invents headers.
///
/// Proofs combine: `a & b` asks for both, `a | b` for one of them, the left one first. Prefer
/// `Proof::peer(..) & Proof::shared_secret(..)`: a request that the proxy's own host was tricked into sending
/// (SSRF, CVE-2022-35957) has the right address and not the secret, and a secret that leaked is of no use from
/// elsewhere.
///
/// # Example
///
/// ```
/// use http::HeaderName;
/// use tower_proxied::{Proof, Secret, TrustedProxies};
///
/// let now = Secret::parse("correct-horse-battery-staple-2")?;
/// let previous = Secret::parse("correct-horse-battery-staple-1")?;
/// let proof = Proof::peer(TrustedProxies::parse(["10.0.0.5"])?)
///     & Proof::shared_secret(HeaderName::from_static("x-proxy-secret"), [now, previous]);
/// assert!(!format!("{proof:?}").contains("battery"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Proof(Node);

#[derive(Clone)]
enum Node {
    Peer(TrustedProxies),
    SharedSecret { header: HeaderName, secrets: Arc<[Secret]> },
    ClientCert(Arc<dyn Fn(&Extensions) -> bool + Send + Sync>),
    Verify(Arc<dyn Fn(&request::Parts) -> bool + Send + Sync>),
    And(Arc<(Node, Node)>),
    Or(Arc<(Node, Node)>),
}

impl Proof {
    /// The socket's peer is in this set. A client's address that some layer found in headers never counts.
    pub fn peer(trusted: TrustedProxies) -> Self {
        Self(Node::Peer(trusted))
    }

    /// This header holds one of these secrets, in exactly one line. Several secrets serve rotation: the
    /// application learns the new one first, then the proxy.
    ///
    /// The header is never forwarded. The time that the comparison takes depends on the length of what was
    /// sent and on nothing else.
    ///
    /// From the environment, with a second one while they change. It is asked for where it is set, since
    /// `Secret::from_env(..).ok()` would hide one that is too short:
    ///
    /// ```
    /// use http::HeaderName;
    /// use tower_proxied::proxy_remote_user::SecretEnvError;
    /// use tower_proxied::{Proof, Secret};
    ///
    /// fn proof() -> Result<Proof, SecretEnvError> {
    ///     let mut secrets = vec![Secret::from_env("ACME_PROXY_SECRET")?];
    ///     if std::env::var_os("ACME_PROXY_SECRET_PREVIOUS").is_some() {
    ///         secrets.push(Secret::from_env("ACME_PROXY_SECRET_PREVIOUS")?);
    ///     }
    ///     Ok(Proof::shared_secret(HeaderName::from_static("x-proxy-secret"), secrets))
    /// }
    /// assert_eq!(proof().unwrap_err().variable(), "ACME_PROXY_SECRET");
    /// ```
    pub fn shared_secret(header: HeaderName, secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self(Node::SharedSecret { header, secrets: secrets.into_iter().collect() })
    }

    /// The connection's client certificate, as the server left it in the extensions (for example tonic's
    /// `TlsConnectInfo::peer_certs`), is the proxy's. Never decide by a header here.
    ///
    /// Check the name too: a certificate authority that signs for others as well proves only that the peer is
    /// one of its customers. To compare with the proxy's own certificate needs no parser (tonic, feature
    /// `tonic-tls` of this crate, and `client_ca_root` of its `ServerTlsConfig`):
    ///
    /// ```
    /// use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
    /// use tower_proxied::{Proof, ProxyRemoteUserLayer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let of_the_proxy: Vec<u8> = vec![0x30, 0x82]; // DER, from a file
    /// let proof = Proof::client_cert(move |extensions| {
    ///     let connection = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
    ///     let shown = connection.and_then(TlsConnectInfo::peer_certs);
    ///     shown.is_some_and(|chain| chain.first().is_some_and(|leaf| **leaf == *of_the_proxy))
    /// });
    /// let layer = ProxyRemoteUserLayer::new(proof).required().build()?;
    /// # use tower::{Layer, ServiceExt};
    /// # let app = layer.layer(tower::service_fn(|_: http::Request<()>| async {
    /// #     Ok::<_, std::convert::Infallible>(http::Response::new(()))
    /// # }));
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// # let response = runtime.block_on(app.oneshot(http::Request::new(())))?;
    /// assert_eq!(response.status(), 401); // of a request that came without TLS
    /// # Ok(())
    /// # }
    /// ```
    pub fn client_cert(is_proxy: impl Fn(&Extensions) -> bool + Send + Sync + 'static) -> Self {
        Self(Node::ClientCert(Arc::new(is_proxy)))
    }

    /// A check of your own, such as a signed assertion. It sees the request as it came, all identity headers
    /// included. Check the audience, the issuer and the expiry of an assertion, not only its signature.
    pub fn verify(is_proven: impl Fn(&request::Parts) -> bool + Send + Sync + 'static) -> Self {
        Self(Node::Verify(Arc::new(is_proven)))
    }

    /// The one place where proven requests come from.
    pub(super) fn check(&self, peer: Option<&PeerAddr>, parts: &request::Parts) -> Option<Proven> {
        self.0.check(peer, parts).map(Proven)
    }

    pub(super) fn asks_for_peer(&self) -> bool {
        self.0.any(&|leaf| matches!(leaf, Node::Peer(_)))
    }

    /// A part that nobody can ever meet.
    pub(super) fn impossible_part(&self) -> Option<&'static str> {
        if self.0.any(&|leaf| matches!(leaf, Node::Peer(trusted) if trusted.is_none())) {
            return Some("an empty set of trusted proxies");
        }
        self.0
            .any(&|leaf| matches!(leaf, Node::SharedSecret { secrets, .. } if secrets.is_empty()))
            .then_some("an empty list of secrets")
    }

    /// Each header once.
    pub(super) fn secret_headers(&self) -> Vec<HeaderName> {
        let mut headers = Vec::new();
        self.0.each_leaf(&mut |leaf| match leaf {
            Node::SharedSecret { header, .. } if !headers.contains(header) => headers.push(header.clone()),
            _ => {}
        });
        headers
    }
}

/// Both.
impl BitAnd for Proof {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(Node::And(Arc::new((self.0, other.0))))
    }
}

/// Either.
impl BitOr for Proof {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(Node::Or(Arc::new((self.0, other.0))))
    }
}

/// Shown by [`Proof::check`] alone, and spent in making a `RemoteUser`.
#[derive(Debug)]
pub(super) struct Proven(ProvenBy);

impl Proven {
    pub(super) fn by(self) -> ProvenBy {
        self.0
    }
}

/// Which kinds of proof a request showed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ProvenBy(u8);

impl ProvenBy {
    /// Whether this kind was asked for, and shown.
    pub fn includes(self, kind: ProofKind) -> bool {
        self.0 & Self::only(kind).0 != 0
    }

    pub(super) fn only(kind: ProofKind) -> Self {
        Self(match kind {
            ProofKind::Peer => 1,
            ProofKind::SharedSecret => 2,
            ProofKind::ClientCert => 4,
            ProofKind::Verify => 8,
            ProofKind::Test => 16,
        })
    }
}

impl fmt::Debug for ProvenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(ProofKind::ALL.iter().filter(|kind| self.includes(**kind))).finish()
    }
}

/// A kind of [`Proof`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProofKind {
    /// [`Proof::peer`].
    Peer,
    /// [`Proof::shared_secret`].
    SharedSecret,
    /// [`Proof::client_cert`].
    ClientCert,
    /// [`Proof::verify`].
    Verify,
    /// `RemoteUser::for_test` (feature `test-util`).
    Test,
}

impl ProofKind {
    const ALL: &[Self] = &[Self::Peer, Self::SharedSecret, Self::ClientCert, Self::Verify, Self::Test];
}

impl Node {
    fn check(&self, peer: Option<&PeerAddr>, parts: &request::Parts) -> Option<ProvenBy> {
        let (is_met, kind) = match self {
            Self::Peer(trusted) => (trusted.trusts(peer), ProofKind::Peer),
            Self::SharedSecret { header, secrets } => {
                (holds_secret(&parts.headers, header, secrets), ProofKind::SharedSecret)
            }
            Self::ClientCert(is_proxy) => (is_proxy(&parts.extensions), ProofKind::ClientCert),
            Self::Verify(is_proven) => (is_proven(parts), ProofKind::Verify),
            Self::And(both) => {
                let (left, right) = &**both;
                let (left, right) = (left.check(peer, parts)?, right.check(peer, parts)?);
                return Some(ProvenBy(left.0 | right.0));
            }
            Self::Or(either) => {
                let (left, right) = &**either;
                return left.check(peer, parts).or_else(|| right.check(peer, parts));
            }
        };
        is_met.then_some(ProvenBy::only(kind))
    }

    fn any(&self, is_so: &dyn Fn(&Self) -> bool) -> bool {
        let mut found = false;
        self.each_leaf(&mut |leaf| found |= is_so(leaf));
        found
    }

    fn each_leaf<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        match self {
            Self::And(pair) | Self::Or(pair) => {
                pair.0.each_leaf(visit);
                pair.1.each_leaf(visit);
            }
            leaf => visit(leaf),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(trusted) => f.debug_tuple("Peer").field(trusted).finish(),
            Self::SharedSecret { header, secrets } => {
                f.debug_struct("SharedSecret").field("header", header).field("secrets", secrets).finish()
            }
            Self::ClientCert(_) => f.write_str("ClientCert(..)"),
            Self::Verify(_) => f.write_str("Verify(..)"),
            Self::And(both) => write!(f, "({:?} & {:?})", both.0, both.1),
            Self::Or(either) => write!(f, "({:?} | {:?})", either.0, either.1),
        }
    }
}

fn holds_secret(headers: &HeaderMap, header: &HeaderName, secrets: &[Secret]) -> bool {
    let Ok(Some(sent)) = list::only_line(headers, header) else { return false };
    let sent = list::trim(sent);
    // All of them are compared, so that time does not tell which one is current.
    secrets.iter().fold(false, |found, secret| found | secret.equals(sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: HeaderName = HeaderName::from_static("x-proxy-secret");

    fn secret(text: &str) -> Secret {
        Secret::parse(text).unwrap()
    }

    fn parts(lines: &[&str]) -> request::Parts {
        let mut request = http::Request::new(());
        for line in lines {
            request.headers_mut().append(HEADER, line.parse().unwrap());
        }
        request.into_parts().0
    }

    fn no() -> Proof {
        Proof::verify(|_| false)
    }

    fn yes() -> Proof {
        Proof::client_cert(|_| true)
    }

    #[test]
    fn secret_in_one_line_of_several_secrets() {
        let proof =
            Proof::shared_secret(HEADER, [secret("new-new-new-new-new"), secret("old-old-old-old-old")]);
        for (lines, is_proven) in [
            (&["new-new-new-new-new"][..], true),
            (&["old-old-old-old-old"], true),
            (&["old-old-old-old-ole"], false),
            (&["new-new-new-new-new", "guess"], false),
            (&["new-new-new-new-new", "new-new-new-new-new"], false),
            (&["new-new-new-new-new, guess"], false),
            (&["guess, new-new-new-new-new"], false),
            (&[" new-new-new-new-new\t"], true),
            (&[], false),
        ] {
            assert_eq!(proof.check(None, &parts(lines)).is_some(), is_proven, "{lines:?}");
        }
    }

    #[test]
    fn and_asks_for_both_or_for_one() {
        let is_proven = |proof: Proof| proof.check(None, &parts(&[])).is_some();
        assert!(is_proven(yes() & yes()) && is_proven(yes() | no()) && is_proven(no() | yes()));
        assert!(!is_proven(yes() & no()) && !is_proven(no() & yes()) && !is_proven(no() | no()));
    }

    #[test]
    fn says_what_was_shown() {
        let proof = (yes() & Proof::verify(|_| true)) | Proof::peer(TrustedProxies::loopback());
        let by = proof.check(None, &parts(&[])).unwrap().by();
        assert!(by.includes(ProofKind::ClientCert) && by.includes(ProofKind::Verify));
        assert!(!by.includes(ProofKind::Peer));
        assert_eq!(format!("{by:?}"), "{ClientCert, Verify}");
    }

    #[test]
    fn no_peer_information_proves_nothing() {
        let proof = Proof::peer(TrustedProxies::everyone_dangerously());
        assert!(proof.check(None, &parts(&[])).is_none());
    }

    #[test]
    fn debug_never_shows_a_secret() {
        let text =
            format!("{:?}", no() | (yes() & Proof::shared_secret(HEADER, [secret("correct-horse-battery")])));
        assert!(text.contains("x-proxy-secret") && !text.contains("horse"), "{text}");
    }
}
