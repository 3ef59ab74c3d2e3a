//! No mixed content on https pages: `http://` URLs of what a page is made of become `https://`.
//!
//! [`ForceHttpsBody`] reads HTML as it streams by, the way a browser reads it, and changes the scheme of URLs that
//! the browser would fetch on its own. Everything else goes through byte for byte.
//!
//! # What it decides, in order
//!
//! 1. Was the request secure? [`Proxied::is_secure`] says so, as [`ForwardedFor`](crate::ForwardedFor) left it;
//!    without one the function of [`secure_when`](ForceHttpsBodyLayer::secure_when). Where there is neither, the
//!    request is refused with 500 ([`RefusalKind::ProxiedMissing`]). No header, and no scheme of a URI, is believed.
//!    The response to a plain request is never changed, but for its `Vary`.
//! 2. Is the response a page that may be changed? Its status is neither 1xx, 204, 205, 206 nor 304, it has no
//!    `Content-Range`; its media type is exactly `text/html` or `application/xhtml+xml`; its charset, where one is
//!    named, is a superset of ASCII, and it does not begin with the mark of UTF-16; it is not encoded, no
//!    `attachment`, and not under `no-transform` (RFC 9111, section 5.2.2.6). Then the function of
//!    [`rewrite_when`](ForceHttpsBodyLayer::rewrite_when) is asked. The bytes of all other responses pass as they are.
//! 3. A page with a known length of 64 KiB at most, that is there at once and in one piece, is looked at before its head
//!    leaves. If nothing in it changes, nothing in its head does either, but for its `Link` fields.
//! 4. In the page: which attributes, see [`Targets`]; on which hosts, see [`Hosts`]; with which port, see [`Ports`]. A
//!    URL must begin (but for white space) with the four letters `http`, `:` and two slashes of either kind, the latter
//!    three as such or as character references. `:80` goes with the scheme. Of two attributes of one name the first
//!    counts.
//! 5. In the head: see below.
//!
//! Never changed: `href` of `a` and `area`, comments, scripts, text, `textarea`, namespaces and other identifiers, what
//! stands inside of `data:` URLs.
//!
//! # What the head says then
//!
//! | field | page that is changed, or may be as it flows | clean page that is there at once | part (206) | 304 |
//! |---|---|---|---|---|
//! | `Content-Length` | the new one, or none while it streams | stays | stays | goes, see below |
//! | `ETag` | weak; a malformed one goes | stays | stays | weak if the client holds the weak form |
//! | `Accept-Ranges`, `Content-MD5`, `Digest`, `Content-Digest`, `Repr-Digest`, `Unencoded-Digest` | go, in trailers and in `Trailer` too | stay | stay | go, see below |
//! | `Last-Modified` | stays | stays | stays | stays |
//! | `Vary` | + the field that decided the scheme | stays | + that field | + that field if it is known to be of a page |
//! | `Cache-Control` | stays | stays | + `no-store` | stays |
//! | `Link` | URLs and `imagesrcset` upgraded, by relation as those of `link` elements | the same | stays | the same |
//!
//! - `HEAD` is answered as `GET` of a page that streams: without a length, with a weak tag. A clean page has more to say
//!   of itself to `GET`, which makes a cache ask again and harms nothing.
//! - A 304 keeps all it says if `If-None-Match` shows that the client holds the strong tag, of bytes that were not
//!   changed.
//! - Plain requests get the same `Vary`, since there is another page for secure ones. There is none where no field
//!   decided, such as on a listener of its own with TLS.
//! - A secure request with a date or a weak tag in `If-Range` loses its `Range`: both name two versions of the page, and
//!   a client would put parts of both together (RFC 9110, section 13.1.5).
//!
//! # Where it stands
//!
//! ```text
//! ForwardedFor           says what is secure
//! ForcedHost             says which host is the own one: for `base`, and for Hosts::same
//! CompressionLayer       outside: encodes what was rewritten
//! ForceHttpsBody
//! DecompressionLayer     inside, over an application or an upstream that encodes its pages; or request_identity()
//! the application
//! ```
//!
//! Compression that stands inside has nothing rewritten: an encoded page passes as it is. A layer that sets
//! `Cache-Control: no-transform` or a digest stands inside of this one, or it says what is not so. `ServeDir` of
//! tower-http does not read `If-Range`; this layer makes up for it on secure requests.
//!
//! # Cost and limits
//!
//! Bytes wait for 1 KiB at most inside of a URL, and for [`max_hold`](ForceHttpsBodyLayer::max_hold) inside of a
//! `link`. A piece in which nothing changes is handed on as the same `Bytes`. Of the last piece a clone is kept where it is
//! of at most 16 KiB and without any `http:`, until the next one comes or the body ends: the buffer that it is a slice of,
//! however large, lives as long, for each response that is under way. A response that is no page costs what its
//! head is looked at. There are no errors but those of the inner body.
//!
//! Not found are URLs whose letters `http` are written as references or broken by line ends, that CSS spells with
//! escapes, `url(..)` in presentation attributes of SVG (`filter`, `mask`), elements of XHTML with a prefix
//! (`svg:image`), in a style sheet of SVG or XHTML a URL with a comment or the edge of a CDATA section between its scheme
//! and the end of its host, the instruction `<?xml-stylesheet ..?>` of XHTML, and what scripts make. An encoding that only
//! a `meta` names is not looked at. `srcdoc` is left alone too: it is a page within an attribute, which would have to be
//! decoded and encoded again to be changed. Browsers pass
//! [`upgrade_insecure_requests`](ForceHttpsBodyLayer::upgrade_insecure_requests) on to it (Upgrade Insecure Requests,
//! "Policy Inheritance"), and a template can give what it puts there to [`upgrade_fragment`] first.
//!
//! From an outermost `svg` or `math` on, the open elements are followed as browsers follow them, those of HTML inside of it
//! included. Where 512 are open, the rest of the page goes out as it came. What is around is not known: a tag that closes
//! nothing inside, and may be for an element around (`<svg></div>`, and any tag of a table), ends the `svg`, also where
//! there is no such element and browsers pass it over. No `form` is taken to be open around, and no page to be in quirks
//! mode.
//!
//! # Deployment caveats
//!
//! - A host that has no https, or another site there, belongs on the list of [`Hosts::deny`].
//! - A part of a page is never rewritten: a client that fetches a page in parts gets it as it was. Caches are told not
//!   to keep such parts, but for several parts in one response (`multipart/byteranges`), which does not say what they are of.
//! - `If-Match` takes no weak tag (RFC 9110, section 13.1.1): who writes a page back over https with the tag that it came
//!   with is told 412. Leave pages that are edited so alone ([`rewrite_when`](ForceHttpsBodyLayer::rewrite_when)).
//! - What clients and caches hold from before the layer, or from before another policy, is told 304 until the page itself
//!   changes: publish pages anew with it, or purge the caches.
//! - A tag that was weak before is the same for both pages, and so is none. A shared cache that asks for one scheme with
//!   the strong tag of what it keeps for the other (RFC 9111, section 4.1 allows it; common ones do not) is told 304, and
//!   serves the other page. Let it key by scheme, or let pages be `private`.
//!
//! # From a policy for browsers to this layer
//!
//! A site that only sends `Content-Security-Policy: upgrade-insecure-requests` can keep it. The header has browsers
//! upgrade all that the page and its scripts fetch, on every host, and does nothing for clients without it (feed readers,
//! mail, crawlers, link checkers). This layer spares hosts as you say, and shows by
//! [`report_only`](ForceHttpsBodyLayer::report_only) which templates still write `http://`. To come from one to both:
//! `report_only` with [`on_rewrite`](ForceHttpsBodyLayer::on_rewrite) until the list of hosts is right, then rewrite, and
//! leave the header to [`upgrade_insecure_requests`](ForceHttpsBodyLayer::upgrade_insecure_requests), which adds none
//! where one is.
//!
//! # Example
//!
//! ```
//! use http::{Request, Response, header};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_proxied::force_https_body::ForceHttpsBodyLayer;
//! use tower_proxied::forwarded_for::{Claims, Written};
//! use tower_proxied::{ForwardedForLayer, PeerAddr, TrustedProxies};
//! # use http_body_util::{BodyExt, Full};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = ServiceBuilder::new()
//!     .layer(PeerAddr::layer("10.0.0.1:4711".parse::<std::net::SocketAddr>()?))
//!     .layer(
//!         ForwardedForLayer::x_forwarded_for(TrustedProxies::parse(["10.0.0.0/8"])?)
//!             .claims(Claims::none().scheme(Written::Set)),
//!     )
//!     .layer(ForceHttpsBodyLayer::new())
//!     .service_fn(|_: Request<()>| async {
//!         let page = r#"<a href="http://example.com/">x</a><img src="http://cdn.example/x.png">"#;
//!         let page = Full::new(bytes::Bytes::from(page));
//!         Response::builder().header(header::CONTENT_TYPE, "text/html").body(page)
//!     });
//! let request = Request::builder()
//!     .header("x-forwarded-for", "203.0.113.5")
//!     .header("x-forwarded-proto", "https")
//!     .body(())?;
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.headers()[header::VARY], "x-forwarded-proto");
//! let page = response.into_body().collect().await?.to_bytes();
//! assert_eq!(page, r#"<a href="http://example.com/">x</a><img src="https://cdn.example/x.png">"#);
//! # Ok(())
//! # }
//! ```

mod body;
mod charset;
mod engine;
mod gate;
mod hosts;
mod link_header;
mod policy;
mod settle;

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderValue, Method, request, response};

pub use self::body::UpgradedBody;
pub use self::engine::{Upgrader, upgrade_fragment};
pub use self::hosts::{HostPatternError, Hosts};
pub use self::policy::{PortMap, PortMapError, Ports, Rewrite, Targets, UpgradePolicy};
pub use self::settle::Upgrades;
use self::settle::{Job, Options, Secure};
pub use crate::body::ResponseBody;
use crate::forced_host::PublicUrl;
use crate::forwarded_for::{Proxied, SchemeSource};
use crate::future;
use crate::refusal::{Refusal, RefusalKind};
use crate::shell::{ExemptPaths, Unit, edit, shell};

/// Response future of [`ForceHttpsBody`].
pub type ResponseFuture<F> = future::ResponseFuture<F, Upgrades>;

shell! {
    /// Layer of [`ForceHttpsBody`]; see the [module](crate::force_https_body) for what it decides.
    layer ForceHttpsBodyLayer;
    /// Upgrades the URLs of https pages; see the [module](crate::force_https_body).
    ///
    /// It is a service where the `Data` of the inner service's response body is [`Bytes`](bytes::Bytes), as it is
    /// with axum, hyper and tonic. For another body map the data first, such as with `map_response_body` of tower-http
    /// and `map_frame` of http-body-util.
    service ForceHttpsBody;
    unit Config, owes Upgrades;
}

impl ForceHttpsBodyLayer {
    /// With the defaults of [`UpgradePolicy`].
    pub fn new() -> Self {
        Self::with_policy(UpgradePolicy::new())
    }

    /// With a policy that is shared with [`upgrade_fragment`] or an [`Upgrader`].
    pub fn with_policy(policy: impl Into<Arc<UpgradePolicy>>) -> Self {
        Config {
            policy: policy.into(),
            secure_when: None,
            options: Options::default(),
            exempt: ExemptPaths::default(),
        }
        .into()
    }

    /// As [`UpgradePolicy::targets`].
    pub fn targets(self, targets: Targets) -> Self {
        self.policy(|policy| policy.targets(targets))
    }

    /// As [`UpgradePolicy::hosts`].
    pub fn hosts(self, hosts: Hosts) -> Self {
        self.policy(|policy| policy.hosts(hosts))
    }

    /// As [`UpgradePolicy::ports`].
    pub fn ports(self, ports: Ports) -> Self {
        self.policy(|policy| policy.ports(ports))
    }

    /// As [`UpgradePolicy::max_hold`].
    pub fn max_hold(self, bytes: u64) -> Self {
        self.policy(|policy| policy.max_hold(bytes))
    }

    /// As [`UpgradePolicy::report_only`]: no request and no response is changed, not in its head either.
    pub fn report_only(self) -> Self {
        self.policy(UpgradePolicy::report_only)
    }

    /// As [`UpgradePolicy::on_rewrite`].
    pub fn on_rewrite(self, on_rewrite: fn(&Rewrite<'_>)) -> Self {
        self.policy(|policy| policy.on_rewrite(on_rewrite))
    }

    /// Which requests are secure where no [`Proxied`] says it, such as all of a listener with TLS:
    /// `secure_when(|_| true)`. Headers are the client's word: do not read them here.
    pub fn secure_when(mut self, is_secure: fn(&request::Parts) -> bool) -> Self {
        edit(&mut self.config, |config| config.secure_when = Some(is_secure));
        self
    }

    /// Which of the pages that may be changed are: asked last, of pages for plain requests too, since these say by
    /// `Vary` that there is another. All unless said.
    ///
    /// ```
    /// use tower_proxied::force_https_body::ForceHttpsBodyLayer;
    ///
    /// /// A handler puts it into the extensions of its response.
    /// #[derive(Clone)]
    /// struct AsItIs;
    ///
    /// let layer = ForceHttpsBodyLayer::new().rewrite_when(|page| page.extensions.get::<AsItIs>().is_none());
    /// # let _ = layer;
    /// ```
    pub fn rewrite_when(mut self, is_wanted: fn(&response::Parts) -> bool) -> Self {
        edit(&mut self.config, |config| config.options.rewrite_when = Some(is_wanted));
        self
    }

    /// Asks the inner service for plain text on secure requests (`Accept-Encoding: identity`), for one that would
    /// encode its pages and cannot be told otherwise; put compression outside of this layer then. A client that takes
    /// no plain text (`identity;q=0`) keeps its word, and its encoded pages pass as they are. Off unless said.
    pub fn request_identity(mut self) -> Self {
        edit(&mut self.config, |config| config.options.asks_identity = true);
        self
    }

    /// Adds `Content-Security-Policy: upgrade-insecure-requests` to secure pages, in a line of its own, which leaves
    /// other policies as they are (Content Security Policy, section 8.1): browsers then upgrade what scripts load, and
    /// forms, whatever [`Hosts`] says. Off unless said.
    pub fn upgrade_insecure_requests(mut self) -> Self {
        edit(&mut self.config, |config| config.options.asks_browser = true);
        self
    }

    /// A path that is never refused: without [`Proxied`] its pages pass as they are.
    pub fn exempt_path(mut self, path: &str) -> Self {
        edit(&mut self.config, |config| config.exempt.add(path));
        self
    }

    fn policy(mut self, change: impl FnOnce(UpgradePolicy) -> UpgradePolicy) -> Self {
        edit(&mut self.config, |config| config.policy = Arc::new(change((*config.policy).clone())));
        self
    }
}

impl Default for ForceHttpsBodyLayer {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Debug)]
struct Config {
    policy: Arc<UpgradePolicy>,
    secure_when: Option<fn(&request::Parts) -> bool>,
    options: Options,
    exempt: ExemptPaths,
}

impl Unit for Config {
    type Owed = Upgrades;

    fn on_request(&self, parts: &mut request::Parts) -> Result<Upgrades, Refusal> {
        let (is_secure, varies_by) = match (parts.extensions.get::<Proxied>(), self.secure_when) {
            (Some(proxied), _) => {
                let field = match proxied.scheme_source() {
                    SchemeSource::Field(field) => Some(field),
                    SchemeSource::Listener => None,
                };
                (proxied.is_secure(), field)
            }
            (None, Some(secure_when)) => (secure_when(parts), None),
            (None, None) if self.exempt.contains(parts) => return Ok(Upgrades(None)),
            (None, None) => return Err(RefusalKind::ProxiedMissing.into()),
        };
        let changes = !self.policy.is_report_only;
        if !is_secure {
            let vary = varies_by.filter(|_| changes).map(|field| Job::Vary(field, self.options));
            return Ok(Upgrades(vary.map(Box::new)));
        }
        if changes && gate::is_weak_if_range(&parts.headers) {
            parts.headers.remove(RANGE);
            parts.headers.remove(IF_RANGE);
        }
        if changes && self.options.asks_identity && !gate::refuses_identity(&parts.headers) {
            parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let own_host = match parts.extensions.get::<PublicUrl>() {
            Some(public) => Some(public.authority()),
            None => parts.extensions.get::<Proxied>().and_then(Proxied::host),
        };
        Ok(Upgrades(Some(Box::new(Job::Upgrade(Secure {
            policy: Arc::clone(&self.policy),
            options: self.options,
            own_host: own_host.cloned(),
            varies_by,
            is_head: parts.method == Method::HEAD,
            if_none_match: parts.headers.get_all(IF_NONE_MATCH).iter().cloned().collect(),
        })))))
    }

    fn when_disabled(_: &mut request::Parts) -> Upgrades {
        Upgrades(None)
    }
}

#[cfg(test)]
mod tests;
