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
//! costs little more than one of ten. Nothing is allocated but the extension, an attested prefix, an attested host of
//! more than 62 bytes, and a field that must be cut. `benches/forwarded_for.rs` compares with other crates.
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

pub use self::claims::{Claims, Declared, Front, Written};
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

    /// A trusted proxy sent no address. [`OnNoClient::Anonymous`] unless said, for health probes.
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
mod tests {
    use http::{HeaderValue, Request};
    use proptest::prelude::*;

    use super::*;

    fn layer() -> ForwardedForLayer {
        ForwardedForLayer::x_forwarded_for(TrustedProxies::parse(["10.0.0.0/8"]).unwrap())
    }

    fn peer(ip: [u8; 4]) -> PeerAddr {
        PeerAddr::Tcp((ip, 4711).into())
    }

    const PROXY: [u8; 4] = [10, 0, 0, 1];
    const STRANGER: [u8; 4] = [192, 0, 2, 66];

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &[u8])| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    /// What the inner service sees: the headers and the extension, or the refusal.
    fn inner(
        layer: &ForwardedForLayer,
        peer: [u8; 4],
        headers: HeaderMap,
    ) -> Result<(HeaderMap, Proxied), RefusalKind> {
        let mut request = Request::new(());
        *request.headers_mut() = headers;
        request.extensions_mut().insert(self::peer(peer));
        let mut parts = request.into_parts().0;
        layer.config.as_ref().unwrap().on_request(&mut parts).map_err(|refusal| refusal.kind())?;
        Ok((parts.headers, parts.extensions.remove().unwrap()))
    }

    #[test]
    fn policies_of_a_request_without_a_client() {
        let missing = HeaderMap::new();
        let obscured = headers(&[("x-forwarded-for", b"_hidden")]);
        let malformed = headers(&[("x-forwarded-for", b"203.0.113.5, localhost")]);
        let client = |layer: &ForwardedForLayer, headers: &HeaderMap| {
            inner(layer, PROXY, headers.clone()).map(|(_, proxied)| proxied.client())
        };
        assert_eq!(client(&layer(), &missing), Ok(None));
        assert_eq!(client(&layer(), &obscured), Ok(None));
        assert_eq!(client(&layer(), &malformed), Err(RefusalKind::ClientMalformed));

        let strict = layer().on_missing(OnNoClient::Refuse).on_obscured(OnNoClient::Refuse);
        assert_eq!(client(&strict, &missing), Err(RefusalKind::ClientMissing));
        assert_eq!(client(&strict, &obscured), Err(RefusalKind::ClientObscured));

        let with_peer = layer().on_missing(OnNoClient::UsePeer).on_malformed(OnMalformed::Anonymous);
        assert_eq!(client(&with_peer, &missing), Ok(Some(PROXY.into())));
        assert_eq!(client(&with_peer, &malformed), Ok(None));
        let (seen, _) = inner(&with_peer, PROXY, malformed).unwrap();
        assert!(seen.is_empty(), "what cannot be read attests nothing: {seen:?}");
    }

    #[test]
    fn no_peer_information_is_refused_with_500() {
        let mut parts = Request::new(()).into_parts().0;
        let config = layer().config.unwrap();
        let refusal = config.on_request(&mut parts).unwrap_err();
        assert_eq!((refusal.kind(), refusal.status().as_u16()), (RefusalKind::NoPeer, 500));
    }

    #[test]
    fn an_exempt_path_passes_without_a_client_and_without_headers() {
        let mut request =
            Request::builder().uri("/healthz").header("x-forwarded-for", "localhost").body(()).unwrap();
        request.extensions_mut().insert(peer(PROXY));
        let mut parts = request.into_parts().0;
        layer().exempt_path("/healthz").config.unwrap().on_request(&mut parts).unwrap();
        assert!(parts.headers.is_empty());
        assert_eq!(parts.extensions.get::<Proxied>().unwrap().client(), None);
    }

    #[test]
    fn keep_raw_headers_keeps_the_clients_inventions() {
        let lines = headers(&[("x-forwarded-for", b"6.6.6.6, 203.0.113.5"), ("x-real-ip", b"6.6.6.6")]);
        let (seen, proxied) = inner(&layer().keep_raw_headers(), PROXY, lines.clone()).unwrap();
        assert_eq!(seen, lines);
        assert_eq!(proxied.client(), Some([203, 0, 113, 5].into()));
    }

    #[test]
    fn a_front_end_may_relay_the_clients_claims() {
        let relayed = headers(&[("x-forwarded-for", b"203.0.113.5"), ("x-forwarded-proto", b"https")]);
        let (seen, proxied) = inner(&layer(), PROXY, relayed.clone()).unwrap();
        assert!(!proxied.is_secure(), "nobody declared that the proxy writes it");
        assert!(!seen.contains_key("x-forwarded-proto"));

        let (_, proxied) = inner(&layer().front(Front::Nginx), PROXY, {
            let mut headers = relayed;
            headers.insert("x-forwarded-host", HeaderValue::from_static("Shop.Example:8443"));
            headers
        })
        .unwrap();
        assert!(proxied.is_secure());
        assert_eq!(proxied.host().unwrap().to_string(), "shop.example:8443");
    }

    #[test]
    fn connection_x_forwarded_proto_does_not_downgrade() {
        // Apache httpd drops its own field when the client names it in Connection.
        let lines = headers(&[("x-forwarded-for", b"203.0.113.5"), ("x-forwarded-host", b"shop.example")]);
        assert_eq!(
            inner(&layer().front(Front::Apache), PROXY, lines).unwrap_err(),
            RefusalKind::ClaimMissing
        );
    }

    #[test]
    fn explain_tells_each_hop_and_escapes() {
        let lines = headers(&[("x-forwarded-for", b"6.6.6.6, 203.0.113.5, 10.0.0.3")]);
        assert_eq!(
            layer().explain(Some(&peer(PROXY)), &lines),
            "peer 10.0.0.1:4711: a trusted proxy\n\
             element 1 from the right, \"10.0.0.3\": a trusted proxy\n\
             element 2 from the right, \"203.0.113.5\": the client\n\
             outcome Resolved: client 203.0.113.5, 2 trusted hops"
        );
        let hostile =
            layer().explain(Some(&peer(PROXY)), &headers(&[("x-forwarded-for", b"\xff<script>\t\"")]));
        assert!(hostile.contains(r#""\xff<script>\t\"": no address"#), "{hostile}");
        assert!(hostile.ends_with("outcome Malformed: no client, refused"), "{hostile}");
        assert!(layer().explain(Some(&peer(STRANGER)), &lines).contains("not in the trusted set"));
    }

    fn forwarding_lines() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
        let name = prop_oneof![
            Just("x-forwarded-for"),
            Just("x_forwarded_for"),
            Just("forwarded"),
            Just("x-real-ip"),
            Just("x-forwarded-proto"),
            Just("x.forwarded-host"),
            Just("x-forwarded-prefix"),
            Just("x-original-url"),
        ]
        .prop_map(HeaderName::from_static);
        let value = prop::collection::vec(prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8, Just(b',')], 0..40)
            .prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap());
        prop::collection::vec((name, value), 0..6)
    }

    proptest! {
        #[test]
        fn nothing_a_stranger_says_changes_the_request(lines in forwarding_lines()) {
            let mut added: HeaderMap = lines.into_iter().collect();
            added.insert("accept", HeaderValue::from_static("*/*"));
            let with = inner(&layer().front(Front::Nginx), STRANGER, added);
            prop_assert_eq!(with, inner(&layer().front(Front::Nginx), STRANGER, headers(&[("accept", b"*/*")])));
        }

        #[test]
        fn nothing_left_of_the_attested_tail_changes_the_request(
            lines in forwarding_lines(),
            same_line in prop::collection::vec(0x20..=0x7e_u8, 0..40),
        ) {
            let attested: [(&str, &[u8]); 3] =
                [("x-forwarded-for", b"203.0.113.5, 10.0.0.3"), ("x-forwarded-proto", b"https"), ("accept", b"*/*")];
            let layer = layer().claims(Claims::none().scheme(Written::AppendedByNearest));
            let mut with: HeaderMap = lines.into_iter().collect();
            for (name, value) in attested {
                with.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
            }
            // The same again with the client's bytes in front of the attested ones, in one line.
            let joined = [&same_line[..], b",", attested[0].1].concat();
            let mut in_one_line = headers(&attested);
            in_one_line.insert("x-forwarded-for", HeaderValue::from_bytes(&joined).unwrap());
            let without = inner(&layer, PROXY, headers(&attested));
            prop_assert_eq!(inner(&layer, PROXY, with), without.clone());
            prop_assert_eq!(inner(&layer, PROXY, in_one_line), without);
        }
    }
}
