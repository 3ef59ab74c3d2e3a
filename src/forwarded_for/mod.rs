//! Who is the client, and what did the trusted proxies attest of the request?
//!
//! [`ForwardedFor`] is the one place that reads forwarding headers. It leaves a [`Proxied`] in the request's
//! extensions, and takes out of the headers what no trusted proxy wrote.
//!
//! # What it decides, in order
//!
//! 1. No [`PeerAddr`]: refused with 500 ([`Outcome::NoPeer`]), since the service is wired wrongly.
//! 2. The peer is not in the trusted set: the peer is the client ([`Outcome::Direct`]).
//! 3. The one configured field, all lines as one list (RFC 9110, section 5.3), is read **from the right**. Empty
//!    elements are skipped, trusted addresses walked over; the first other address is the client
//!    ([`Outcome::Resolved`]). There is no fallback to another field: a client could choose it.
//! 4. What is no address there is [`Outcome::Malformed`]; `unknown`, `_name` (RFC 7239, section 6) and an element of
//!    `Forwarded` without `for` are [`Outcome::Obscured`]: never is an element left of it taken instead, since nobody
//!    vouches for that one.
//! 5. All addresses trusted: the leftmost is the client ([`Outcome::AllTrusted`]). None at all:
//!    [`Outcome::Missing`], and no client, for a client can have the field removed (CVE-2024-45410, CVE-2022-31813).
//! 6. Declared [`Claims`] are read from the very hop that named the client. One that is absent although the proxy
//!    wrote others is [`Outcome::ClaimMissing`]; a second value of one that is [`Written::Set`] is
//!    [`Outcome::Duplicate`]. In `Forwarded` scheme and host stand in the element itself and need no declaration.
//! 7. Forwarding headers, in every spelling, are cut down to the part that trusted hops wrote. Behind a stranger
//!    all of them go.
//!
//! `Missing` and `Obscured` pass without a client unless told otherwise, `Malformed`, `TooMany`, `TooFew`,
//! `Duplicate`, `ClaimMissing` and `UntrustedHop` are refused with 400.
//!
//! | constructor | field |
//! |---|---|
//! | [`x_forwarded_for`](ForwardedForLayer::x_forwarded_for) | `X-Forwarded-For`: a list, `ip`, `ip:port`, `[v6]:port` |
//! | [`forwarded`](ForwardedForLayer::forwarded) | `Forwarded` (RFC 7239): a list; quoted strings are read from the right, too |
//! | [`single`](ForwardedForLayer::single) | one address in one line: `X-Real-IP`, `CF-Connecting-IP`, `True-Client-IP`, … |
//! | [`cloudfront`](ForwardedForLayer::cloudfront) | `CloudFront-Viewer-Address`: one address, always with a port |
//!
//! # Cost
//!
//! Time grows with the trusted hops and not with what the client wrote to the left of them; a set of 10,000 networks
//! costs little more than one of ten. Nothing is allocated but the extension, an attested host or prefix of more than
//! 62 bytes, and a field that must be cut; once in a process, the names of forwarding headers are compiled.
//! `benches/forwarded_for.rs` compares with other crates.
//!
//! # Deployment caveat
//!
//! A proxy relays `X-Forwarded-Proto`, `-Host` and `-Prefix` of the client unless its configuration writes them:
//! declare only what yours does write. Addresses of clouds are shared: a set that holds all of a CDN trusts every
//! customer of that CDN.
//!
//! # Example
//!
//! ```
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_proxied::forwarded_for::{Claims, Written};
//! use tower_proxied::{ForwardedForLayer, PeerAddr, Proxied, TrustedProxies};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = ServiceBuilder::new()
//!     .layer(PeerAddr::layer("10.0.0.1:4711".parse::<std::net::SocketAddr>()?))
//!     .layer(
//!         ForwardedForLayer::x_forwarded_for(TrustedProxies::parse(["10.0.0.0/8"])?)
//!             .claims(Claims::none().scheme(Written::Set)),
//!     )
//!     .service_fn(|request: Request<String>| async move {
//!         let proxied = request.extensions().get::<Proxied>().expect("the layer puts it there");
//!         let text = format!("{} {}", proxied.client().expect("a client"), proxied.is_secure());
//!         Ok::<_, std::convert::Infallible>(Response::new(text))
//!     });
//! let request = Request::builder()
//!     .header("x-forwarded-for", "6.6.6.6, 203.0.113.5")
//!     .header("x-forwarded-proto", "https")
//!     .body(String::new())?;
//! let response = service.oneshot(request).await?;
//! # use http_body_util::BodyExt;
//! # let text = response.into_body().collect().await?.to_bytes();
//! assert_eq!(text, "203.0.113.5 true");
//! # Ok(())
//! # }
//! ```

mod claims;
mod proxied;
mod sanitise;
mod source;
mod walk;

use http::{Extensions, HeaderMap, HeaderName, request};

pub use self::claims::{Claims, ClaimsError, Declared, Front, Written};
pub use self::proxied::{Outcome, Proxied, SchemeSource};
use self::source::Source;
pub use crate::body::ResponseBody;
use crate::future::Nothing;
use crate::refusal::{Refusal, RefusalKind};
use crate::shell::{ExemptPaths, Unit, edit, report_no_peer, shell};
use crate::trust::{PeerAddr, TrustedProxies};
use crate::wire::host::Scheme;

/// Response future of [`ForwardedFor`].
pub type ResponseFuture<F> = crate::future::ResponseFuture<F, Nothing>;

shell! {
    /// Layer of [`ForwardedFor`]; see the [module](crate::forwarded_for) for what it decides.
    layer ForwardedForLayer;
    /// Finds the client behind trusted proxies; see the [module](crate::forwarded_for).
    service ForwardedFor;
    unit Config, owes Nothing;
}

impl ForwardedForLayer {
    /// Reads `X-Forwarded-For`, as far as `trusted` proxies wrote it.
    pub fn x_forwarded_for(trusted: TrustedProxies) -> Self {
        Self::reading(Source::XForwardedFor, trusted)
    }

    /// Reads `Forwarded` (RFC 7239), as far as `trusted` proxies wrote it. Scheme and host stand in the element that
    /// names the client and need no declaration; `X-Forwarded-*` is never read.
    pub fn forwarded(trusted: TrustedProxies) -> Self {
        Self::reading(Source::Forwarded, trusted)
    }

    /// Reads a header of one address, which the trusted proxy replaces: `X-Real-IP`, `CF-Connecting-IP`,
    /// `True-Client-IP`, `Fly-Client-IP` and others. A second line is [`Outcome::Duplicate`].
    ///
    /// Some proxies relay what the client sent (`True-Client-IP` of Akamai, `Fastly-Client-IP`, `X-Azure-ClientIP`) unless
    /// they are told to overwrite it.
    pub fn single(name: HeaderName, trusted: TrustedProxies) -> Self {
        Self::reading(Source::Single(name), trusted)
    }

    /// Reads `CloudFront-Viewer-Address`, the one header where a port always stands behind the last colon.
    pub fn cloudfront(trusted: TrustedProxies) -> Self {
        Self::reading(Source::CloudFront, trusted)
    }

    fn reading(source: Source, trusted: TrustedProxies) -> Self {
        Config {
            source,
            trusted,
            hops: None,
            checks_peer: true,
            max_elements: 32,
            claims: Claims::none(),
            on_missing: OnNoClient::Anonymous,
            on_obscured: OnNoClient::Anonymous,
            on_malformed: OnMalformed::Refuse,
            listener_scheme: Scheme::Http,
            keep: Vec::new(),
            keeps_raw_headers: false,
            #[cfg(feature = "axum")]
            replaces_connect_info: false,
            peer_from: None,
            exempt: ExemptPaths::default(),
        }
        .into()
    }

    /// Exactly `hops` proxies stand in a row: the client is the n-th element from the right, and each hop walked
    /// over must be in the trusted set.
    pub fn hops(mut self, hops: usize) -> Self {
        edit(&mut self.config, |config| (config.hops, config.checks_peer) = (Some(hops), true));
        self
    }

    /// The same without any check, **of the peer neither**: whoever reaches the listener past the proxies chooses
    /// the client's address. Only for networks where nobody can.
    pub fn unchecked_hops(mut self, hops: usize) -> Self {
        edit(&mut self.config, |config| (config.hops, config.checks_peer) = (Some(hops), false));
        self
    }

    /// More elements to walk over than this are refused; empty ones count. 32 unless said.
    pub fn max_elements(mut self, max_elements: usize) -> Self {
        edit(&mut self.config, |config| config.max_elements = max_elements);
        self
    }

    /// Which claims the trusted proxies make, and how they write them. None unless said.
    pub fn claims(mut self, claims: Claims) -> Self {
        edit(&mut self.config, |config| config.claims = claims);
        self
    }

    /// The claims of a front end's usual recipe.
    pub fn front(self, front: Front) -> Self {
        self.claims(front.into())
    }

    /// A trusted proxy sent no address. [`OnNoClient::Anonymous`] unless said, for health probes: where claims are
    /// declared, give the probe's path to `exempt_path` of the layers that use them, too.
    pub fn on_missing(mut self, policy: OnNoClient) -> Self {
        edit(&mut self.config, |config| config.on_missing = policy);
        self
    }

    /// The client is hidden. [`OnNoClient::Anonymous`] unless said.
    pub fn on_obscured(mut self, policy: OnNoClient) -> Self {
        edit(&mut self.config, |config| config.on_obscured = policy);
        self
    }

    /// The attested element is no address. [`OnMalformed::Refuse`] unless said.
    pub fn on_malformed(mut self, policy: OnMalformed) -> Self {
        edit(&mut self.config, |config| config.on_malformed = policy);
        self
    }

    /// The scheme of the listener itself, for requests that no proxy attests. `http` unless said.
    pub fn listener_scheme(mut self, scheme: Scheme) -> Self {
        edit(&mut self.config, |config| config.listener_scheme = scheme);
        self
    }

    /// Hands this forwarding header through to the application, from trusted proxies.
    pub fn keep(mut self, name: HeaderName) -> Self {
        edit(&mut self.config, |config| config.keep.push(name));
        self
    }

    /// Hands all headers through as they came, the client's inventions too.
    pub fn keep_raw_headers(mut self) -> Self {
        edit(&mut self.config, |config| config.keeps_raw_headers = true);
        self
    }

    /// Puts the client into axum's `ConnectInfo<SocketAddr>` too (port 0 where it is not known), for layers that know
    /// nothing else, such as rate limiters. The truth about the socket stays in the [`PeerAddr`] extension, which
    /// all layers of this crate read first. A request without a client keeps the proxy's address there.
    #[cfg(feature = "axum")]
    pub fn replace_connect_info(mut self) -> Self {
        edit(&mut self.config, |config| config.replaces_connect_info = true);
        self
    }

    /// Where the peer stands in the extensions, for servers that [`PeerAddr`] does not know.
    pub fn peer_from(mut self, peer: fn(&Extensions) -> Option<PeerAddr>) -> Self {
        edit(&mut self.config, |config| config.peer_from = Some(peer));
        self
    }

    /// A path that is never refused: its requests pass without a client, and without forwarding headers.
    pub fn exempt_path(mut self, path: &str) -> Self {
        edit(&mut self.config, |config| config.exempt.add(path));
        self
    }

    /// The pure function: what this layer makes of a peer and of header lines. A disabled layer knows nothing.
    pub fn resolve(&self, peer: Option<&PeerAddr>, headers: &HeaderMap) -> Option<Proxied> {
        self.config.as_ref().map(|config| config.walk(peer, headers).proxied)
    }

    /// The walk in words, hop by hop, with the reason why it stopped. Client bytes are escaped.
    pub fn explain(&self, peer: Option<&PeerAddr>, headers: &HeaderMap) -> String {
        match &self.config {
            Some(config) => config.explain(peer, headers),
            None => String::from("ForwardedFor is disabled"),
        }
    }
}

/// What becomes of a request without a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnNoClient {
    /// It is refused with 400.
    Refuse,
    /// It passes without a client.
    Anonymous,
    /// The peer, a trusted proxy, passes for the client: only where no client can have the field removed.
    UsePeer,
}

/// What becomes of a request whose attested element is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnMalformed {
    /// It is refused with 400.
    Refuse,
    /// It passes without a client and without claims.
    Anonymous,
}

#[derive(Clone, Debug)]
struct Config {
    source: Source,
    trusted: TrustedProxies,
    hops: Option<usize>,
    checks_peer: bool,
    max_elements: usize,
    claims: Claims,
    on_missing: OnNoClient,
    on_obscured: OnNoClient,
    on_malformed: OnMalformed,
    listener_scheme: Scheme,
    keep: Vec<HeaderName>,
    keeps_raw_headers: bool,
    #[cfg(feature = "axum")]
    replaces_connect_info: bool,
    peer_from: Option<fn(&Extensions) -> Option<PeerAddr>>,
    exempt: ExemptPaths,
}

impl Config {
    fn hops_or(&self, hops: usize) -> usize {
        self.hops.unwrap_or(hops)
    }

    fn peer(&self, extensions: &Extensions) -> Option<PeerAddr> {
        self.peer_from.map_or_else(|| PeerAddr::of(extensions), |peer_from| peer_from(extensions))
    }
}

impl Unit for Config {
    type Owed = Nothing;

    fn on_request(&self, parts: &mut request::Parts) -> Result<Nothing, Refusal> {
        let peer = self.peer(&parts.extensions);
        let mut walk = self.walk(peer.as_ref(), &parts.headers);
        if walk.is_refused {
            if !self.exempt.contains(parts) {
                if walk.proxied.outcome == Outcome::NoPeer {
                    report_no_peer();
                }
                return Err(walk.proxied.outcome.refusal().unwrap_or(RefusalKind::ClientMalformed).into());
            }
            walk.proxied = Proxied::new(walk.proxied.outcome, self.listener_scheme);
        }
        if !self.keeps_raw_headers {
            self.sanitise(&walk, &mut parts.headers);
        }
        #[cfg(feature = "axum")]
        if self.replaces_connect_info {
            replace_connect_info(peer, &walk.proxied, &mut parts.extensions);
        }
        parts.extensions.insert(walk.proxied);
        Ok(Nothing)
    }

    fn when_disabled(_: &mut request::Parts) -> Nothing {
        Nothing
    }
}

#[cfg(feature = "axum")]
fn replace_connect_info(peer: Option<PeerAddr>, proxied: &Proxied, extensions: &mut Extensions) {
    let (Some(peer), Some(client)) = (peer, proxied.client()) else { return };
    extensions.insert(peer);
    let client = std::net::SocketAddr::new(client, proxied.client_port().unwrap_or(0));
    extensions.insert(axum::extract::ConnectInfo(client));
}

#[cfg(test)]
mod tests;
