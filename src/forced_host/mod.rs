//! Where does this application stand, as the browser sees it?
//!
//! [`ForcedHost`] leaves a [`PublicUrl`] in the request's extensions, from which absolute URIs are made: for mails,
//! redirects, feeds. Links made of what the client writes into `Host` lead where the client wants (poisoned
//! password resets, poisoned caches); so the public URL is either said by the operator, or checked against a
//! list of the operator's.
//!
//! | constructor | the public URL is |
//! |---|---|
//! | [`fixed`](ForcedHostLayer::fixed) | the configured one; the request is not looked at |
//! | [`allowed`](ForcedHostLayer::allowed) | made of the host that the request asks for, where it is on a list |
//! | [`sites`](ForcedHostLayer::sites) | the one of the site that the request asks for |
//!
//! # What it decides, in order
//!
//! 1. A path that is exempt passes, and carries no `PublicUrl`.
//! 2. `fixed`: its URL; what follows up to 9 is for the other two.
//! 3. [`use_proxied`](ForcedHostLayer::use_proxied): without the [`Proxied`] of
//!    [`ForwardedFor`](crate::ForwardedFor), 500 ([`RefusalKind::ProxiedMissing`]). A declared claim that is missing or
//!    malformed is 400. The scheme is the attested one, else that of `ForwardedFor`'s listener. Without
//!    `use_proxied` it is [`listener_scheme`](ForcedHostLayer::listener_scheme). The scheme in the request target
//!    or in `:scheme` is the client's word and never looked at.
//! 4. The host is the attested one where there is one. The request's own `Host` and target are not looked at then.
//! 5. Else it is the request's own. Two `Host` lines, even equal ones, are 400
//!    ([`RefusalKind::HostDuplicate`]), and so is a host that cannot be read ([`RefusalKind::HostMalformed`]; RFC 9112,
//!    section 3.2). HTTP/1: an absolute request target wins over `Host` (section 3.2.2). HTTP/2: `:authority`
//!    and `Host` must name the same place ([`RefusalKind::HostMismatch`]; RFC 9113, section 8.3.1).
//! 6. No host at all: the [`default_origin`](ForcedHostLayer::default_origin), which is no [`Site`], else 400
//!    ([`RefusalKind::HostMissing`]).
//! 7. [`use_proxied_port`](ForcedHostLayer::use_proxied_port): the attested port replaces the port of the host.
//! 8. 80 and 443 are dropped, under both schemes.
//! 9. A host that is neither on the list nor a site's is 421 ([`RefusalKind::HostNotAllowed`]; RFC 9110,
//!    section 15.5.20), which tells an HTTP/2 client to open a connection of its own to that host.
//! 10. Where `ScriptNamePrefix` stands outside, the prefix of its [`ScriptName`] takes the place of the URL's own.
//! 11. [`rewrite_host`](ForcedHostLayer::rewrite_host): `Host` and target are rewritten.
//!
//! A `PublicUrl` or `Site` that was in the extensions before is taken away.
//!
//! Hosts are read in the grammar of [`wire::host`](crate::wire::host), and are canonical from then on: lower case, no
//! trailing dot, one spelling for each address.
//!
//! `OPTIONS *` and `CONNECT` are requests like others; a `CONNECT` asks for the host it wants to be connected to.
//!
//! # Cost
//!
//! `fixed` and `sites` allocate the extensions alone. `allowed` allocates the host, too, and `rewrite_host` two texts of it.
//! Hosts are looked up by hash: the number of patterns and sites does not matter.
//!
//! # Deployment caveats
//!
//! This layer must stand inside of `ForwardedFor` where it uses its claims, and outside of
//! `ScriptNamePrefix`, which rewrites no absolute URL of a response where it knows no public one.
//!
//! The prefix of a public URL is for links. It is taken from no request and put before no redirect or cookie:
//! `ScriptNamePrefix` does that, with a prefix of its own, which takes the place of the one said here.
//!
//! `Host` and the URI stay as they came unless [`rewrite_host`](ForcedHostLayer::rewrite_host) is said: whatever reads
//! them still reads what the client wrote.
//!
//! Servers are not alike in what they let through: hyper hands on two `Host` lines, user info in a target, and a
//! `:scheme` of the client's choice.
//!
//! # Example
//!
//! ```
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_proxied::forced_host::{AllowedHosts, ForcedHostLayer};
//! use tower_proxied::{PublicUrl, Scheme};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = ServiceBuilder::new()
//!     .layer(
//!         ForcedHostLayer::allowed(AllowedHosts::parse(["example.com", ".example.org"])?)
//!             .listener_scheme(Scheme::Https),
//!     )
//!     .service_fn(|request: Request<String>| async move {
//!         let public = request.extensions().get::<PublicUrl>().expect("the layer puts it there");
//!         let link = public.absolute("/reset/abc").expect("a path of our own");
//!         Ok::<_, std::convert::Infallible>(Response::new(link))
//!     });
//!
//! let request = |host| Request::get("/").header("host", host).body(String::new());
//! let response = service.clone().oneshot(request("Shop.Example.ORG")?).await?;
//! # use http_body_util::BodyExt;
//! # let text = response.into_body().collect().await?.to_bytes();
//! assert_eq!(text, "https://shop.example.org/reset/abc");
//!
//! let response = service.clone().oneshot(request("evil.example")?).await?;
//! assert_eq!(response.status(), 421);
//! let response = service.oneshot(request("example.com@evil.example")?).await?;
//! assert_eq!(response.status(), 400);
//! # Ok(())
//! # }
//! ```

mod allowed;
mod patterns;
mod public_url;
mod reference;
mod rewrite;
mod sites;

use http::request;

pub use self::allowed::{AllowedHosts, AllowedHostsError};
pub use self::public_url::{Origin, PublicUrl, PublicUrlError};
pub use self::reference::ReferenceError;
pub use self::rewrite::OriginalHost;
pub use self::sites::{Site, Sites, SitesError};
use crate::asked_host::asked_host;
pub use crate::body::ResponseBody;
use crate::forwarded_for::Proxied;
use crate::future::Nothing;
use crate::refusal::{Refusal, RefusalKind};
use crate::script_name_prefix::ScriptName;
use crate::shell::{ExemptPaths, Unit, edit, shell};
use crate::wire::host::{HostPort, Scheme};
use crate::wire::path::PathPrefix;

/// Response future of [`ForcedHost`].
pub type ResponseFuture<F> = crate::future::ResponseFuture<F, Nothing>;

shell! {
    /// Layer of [`ForcedHost`]; see the [module](crate::forced_host) for what it decides.
    layer ForcedHostLayer;
    /// Says where the application stands, as the browser sees it; see the [module](crate::forced_host).
    service ForcedHost;
    unit Config, owes Nothing;
}

impl ForcedHostLayer {
    /// The application stands here, whatever the request says. Nothing is refused.
    pub fn fixed(public: PublicUrl) -> Self {
        Config::new(Stands::Here(public)).into()
    }

    /// The application stands where the request asks for it, if that host is on the list. The prefix is empty.
    ///
    /// Links start with `http` behind a proxy that ends TLS, too, unless [`use_proxied`](Self::use_proxied) or
    /// [`listener_scheme`](Self::listener_scheme) is said.
    pub fn allowed(hosts: AllowedHosts) -> Self {
        Config::new(Stands::WhereAllowed(hosts)).into()
    }

    /// The application serves several sites; the request chooses among them by its host. The [`Site`] is left in
    /// the extensions, too: in axum, `Extension<Site>` takes it.
    ///
    /// ```
    /// use axum::{Extension, Router, body::Body, routing::get};
    /// use http::Request;
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::forced_host::{Site, Sites};
    /// use tower_proxied::{ForcedHostLayer, PublicUrl};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sites = Sites::new([
    ///     Site::new("shop", PublicUrl::parse("https://shop.example.com")?),
    ///     Site::new("blog", PublicUrl::parse("https://blog.example.com")?),
    /// ])?;
    /// let home = async |Extension(site): Extension<Site>, url: PublicUrl| format!("{} at {url}", site.name());
    /// let stack = ServiceBuilder::new().layer(ForcedHostLayer::sites(sites));
    /// let app = Router::new().fallback_service(stack.service(Router::new().route("/", get(home))));
    /// let request = Request::get("/").header("host", "blog.example.com").body(Body::empty())?;
    /// let response = app.oneshot(request).await?;
    /// let body = axum::body::to_bytes(response.into_body(), 1024).await?;
    /// assert_eq!(body, "blog at https://blog.example.com");
    /// # Ok(())
    /// # }
    /// ```
    pub fn sites(sites: Sites) -> Self {
        Config::new(Stands::AtSite(sites)).into()
    }

    /// Reads scheme and host from what the trusted proxies attest, the [`Proxied`] that
    /// [`ForwardedFor`](crate::ForwardedFor) leaves. Where they attest no host, the request's own holds; where they
    /// attest no scheme, that of `ForwardedFor`'s listener. They attest nothing that is not declared, by
    /// [`front`](crate::ForwardedForLayer::front) or [`claims`](crate::ForwardedForLayer::claims).
    ///
    /// ```
    /// use http::Request;
    /// use tower_proxied::forced_host::AllowedHosts;
    /// use tower_proxied::forwarded_for::{Claims, Written};
    /// use tower_proxied::{ForcedHostLayer, ForwardedForLayer, PeerAddr, TrustedProxies};
    ///
    /// let public = |claims: Claims| {
    ///     let forwarded_for = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback()).claims(claims);
    ///     let forced_host = ForcedHostLayer::allowed(AllowedHosts::from_static(&["example.com"])).use_proxied();
    ///     let request = Request::get("/").header("host", "example.com").header("x-forwarded-proto", "https");
    ///     let (mut parts, ()) = request.body(()).unwrap().into_parts();
    ///     let peer = PeerAddr::Tcp(([127, 0, 0, 1], 4711).into());
    ///     parts.extensions.insert(forwarded_for.resolve(Some(&peer), &parts.headers).unwrap());
    ///     forced_host.resolve(&parts).unwrap().unwrap().to_string()
    /// };
    /// assert_eq!(public(Claims::none()), "http://example.com");
    /// assert_eq!(public(Claims::none().scheme(Written::Set)), "https://example.com");
    /// ```
    pub fn use_proxied(mut self) -> Self {
        edit(&mut self.config, |config| config.uses_proxied = true);
        self
    }

    /// The same, and the attested port replaces the port of the host: for proxies that write their port into
    /// `X-Forwarded-Port` alone.
    pub fn use_proxied_port(mut self) -> Self {
        edit(&mut self.config, |config| (config.uses_proxied, config.uses_proxied_port) = (true, true));
        self
    }

    /// The scheme of the listener itself. `http` unless said; not read after [`use_proxied`](Self::use_proxied),
    /// for `ForwardedFor` has its own.
    pub fn listener_scheme(mut self, scheme: Scheme) -> Self {
        edit(&mut self.config, |config| config.listener_scheme = scheme);
        self
    }

    /// Where the application stands for requests that name no host, such as those of HTTP/1.0 clients and of
    /// some health probes. They are refused with 400 unless said.
    pub fn default_origin(mut self, public: PublicUrl) -> Self {
        edit(&mut self.config, |config| config.default_origin = Some(public));
        self
    }

    /// Writes the public host into `Host`, and the public origin into a target that has one, for applications that
    /// read these themselves. What the request named before is left as [`OriginalHost`]. A `CONNECT` keeps both.
    pub fn rewrite_host(mut self) -> Self {
        edit(&mut self.config, |config| config.rewrites_host = true);
        self
    }

    /// A path, compared byte for byte, that is never refused. Its requests carry no `PublicUrl`.
    pub fn exempt_path(mut self, path: &str) -> Self {
        edit(&mut self.config, |config| config.exempt.add(path));
        self
    }

    /// The pure function: the public URL of this request. `None` where the layer is disabled or the path exempt.
    ///
    /// # Errors
    ///
    /// The refusal that the layer answers with.
    pub fn resolve(&self, parts: &request::Parts) -> Result<Option<PublicUrl>, Refusal> {
        match &self.config {
            Some(config) => Ok(config.stands(parts)?.map(|(public, _)| public)),
            None => Ok(None),
        }
    }
}

#[derive(Clone, Debug)]
struct Config {
    stands: Stands,
    uses_proxied: bool,
    uses_proxied_port: bool,
    listener_scheme: Scheme,
    default_origin: Option<PublicUrl>,
    rewrites_host: bool,
    exempt: ExemptPaths,
}

#[derive(Clone, Debug)]
enum Stands {
    Here(PublicUrl),
    WhereAllowed(AllowedHosts),
    AtSite(Sites),
}

impl Config {
    fn new(stands: Stands) -> Self {
        Self {
            stands,
            uses_proxied: false,
            uses_proxied_port: false,
            listener_scheme: Scheme::Http,
            default_origin: None,
            rewrites_host: false,
            exempt: ExemptPaths::default(),
        }
    }

    /// The decisions, in the order of the module's documentation.
    fn stands(&self, parts: &request::Parts) -> Result<Option<(PublicUrl, Option<Site>)>, RefusalKind> {
        if self.exempt.contains(parts) {
            return Ok(None);
        }
        let asked = match &self.stands {
            Stands::Here(public) => return Ok(Some((public.clone(), None))),
            Stands::WhereAllowed(_) | Stands::AtSite(_) => self.asked(parts)?,
        };
        let Some((scheme, host)) = asked else {
            let default = self.default_origin.clone().ok_or(RefusalKind::HostMissing)?;
            return Ok(Some((default, None)));
        };
        match &self.stands {
            Stands::WhereAllowed(hosts) if hosts.allows(scheme, &host) => {
                Ok(Some((PublicUrl::new(scheme, host, PathPrefix::root()), None)))
            }
            Stands::AtSite(sites) => match sites.asked_for(scheme, &host) {
                Some(site) => Ok(Some((site.public_url().clone(), Some(site.clone())))),
                None => Err(RefusalKind::HostNotAllowed),
            },
            Stands::Here(_) | Stands::WhereAllowed(_) => Err(RefusalKind::HostNotAllowed),
        }
    }

    /// The scheme by which and the host for which the browser asks.
    fn asked<'a>(&self, parts: &'a request::Parts) -> Result<Option<(Scheme, HostPort<'a>)>, RefusalKind> {
        if !self.uses_proxied {
            return Ok(asked_host(parts)?.map(|host| (self.listener_scheme, without_usual_port(host))));
        }
        let proxied = parts.extensions.get::<Proxied>().ok_or(RefusalKind::ProxiedMissing)?;
        let scheme = proxied.scheme.usable()?.copied().unwrap_or(proxied.listener_scheme);
        let host = match proxied.host.usable()? {
            Some(attested) => Some(attested.by_ref()),
            None => asked_host(parts)?,
        };
        let port = if self.uses_proxied_port { proxied.port.usable()?.copied() } else { None };
        Ok(host.map(|host| {
            let port = port.or(host.port());
            (scheme, without_usual_port(HostPort::new(host.into_host(), port)))
        }))
    }
}

fn without_usual_port(host: HostPort<'_>) -> HostPort<'_> {
    let port = host.unusual_port();
    HostPort::new(host.into_host(), port)
}

impl Unit for Config {
    type Owed = Nothing;

    fn on_request(&self, parts: &mut request::Parts) -> Result<Nothing, Refusal> {
        // Another layer left them for its own reasons: a path that is exempt here carries none.
        parts.extensions.remove::<PublicUrl>();
        parts.extensions.remove::<Site>();
        let Some((mut public, site)) = self.stands(parts)? else { return Ok(Nothing) };
        // Where ScriptNamePrefix stands outside, it had no public URL yet to complete.
        if let Some(prefix) = parts.extensions.get::<ScriptName>().map(ScriptName::prefix)
            && !prefix.is_root()
        {
            public = public.with_prefix(prefix.clone());
        }
        if self.rewrites_host {
            rewrite::rewrite_host(parts, public.origin())?;
        }
        if let Some(site) = site {
            parts.extensions.insert(site);
        }
        parts.extensions.insert(public);
        Ok(Nothing)
    }

    fn when_disabled(_: &mut request::Parts) -> Nothing {
        Nothing
    }
}

#[cfg(test)]
mod tests;
