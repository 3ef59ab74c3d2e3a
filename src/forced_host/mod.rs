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
//! 2. `fixed`: its URL, and nothing else is done.
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
//! 6. No host at all: the [`default_origin`](ForcedHostLayer::default_origin), else 400
//!    ([`RefusalKind::HostMissing`]).
//! 7. [`use_proxied_port`](ForcedHostLayer::use_proxied_port): the attested port replaces the port of the host.
//! 8. 80 and 443 are dropped, under both schemes.
//! 9. A host that is neither on the list nor a site's is 421 ([`RefusalKind::HostNotAllowed`]; RFC 9110,
//!    section 15.5.20), which tells an HTTP/2 client to open a connection of its own to that host.
//!
//! Hosts are read in the grammar of [`wire::host`](crate::wire::host), and are canonical from then on: lower case, no
//! trailing dot, one spelling for each address.
//!
//! `OPTIONS *` and `CONNECT` are requests like others; a `CONNECT` asks for the host it wants to be connected to.
//!
//! # Cost
//!
//! `fixed` and `sites` allocate the extensions alone. `allowed` allocates the host, too. Hosts are looked up by hash:
//! the number of patterns and sites does not matter.
//!
//! # Deployment caveats
//!
//! This layer must stand inside of `ForwardedFor` where it uses its claims, and outside of
//! `ScriptNamePrefix`, which completes the prefix of the public URL. `Host` and the URI stay as they came unless
//! [`rewrite_host`](ForcedHostLayer::rewrite_host) is said: whatever reads them still reads what the client wrote.
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
mod configured;
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
    pub fn allowed(hosts: AllowedHosts) -> Self {
        Config::new(Stands::WhereAllowed(hosts)).into()
    }

    /// The application serves several sites; the request chooses among them by its host. The [`Site`] is left in
    /// the extensions, too.
    pub fn sites(sites: Sites) -> Self {
        Config::new(Stands::AtSite(sites)).into()
    }

    /// Reads scheme and host from what the trusted proxies attest, the [`Proxied`] that
    /// [`ForwardedFor`](crate::ForwardedFor) leaves. Where they attest no host, the request's own holds.
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
mod tests {
    use std::convert::Infallible;

    use http::{Method, Request, Response, Uri, Version};
    use proptest::prelude::*;
    use tower::{ServiceBuilder, ServiceExt};

    use super::*;
    use crate::forwarded_for::{Claims, ForwardedForLayer, Written};
    use crate::trust::{PeerAddr, TrustedProxies};

    fn layer() -> ForcedHostLayer {
        ForcedHostLayer::allowed(AllowedHosts::from_static(&["a.example", "b.example"]))
    }

    /// The target as the server hands it on, and lines of `Host`.
    fn parts(version: Version, target: &str, hosts: &[&str]) -> request::Parts {
        let mut request = Request::new(());
        *request.uri_mut() = target.parse::<Uri>().expect("a target");
        *request.version_mut() = version;
        for host in hosts {
            request.headers_mut().append("host", host.parse().unwrap());
        }
        request.into_parts().0
    }

    fn origin(layer: &ForcedHostLayer, parts: &request::Parts) -> Result<String, RefusalKind> {
        match layer.resolve(parts) {
            Ok(public) => Ok(public.map_or(String::new(), |public| public.to_string())),
            Err(refusal) => Err(refusal.kind()),
        }
    }

    fn proxied(claims: Claims, lines: &[(&'static str, &str)]) -> Proxied {
        let mut headers = http::HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let peer = PeerAddr::Tcp("127.0.0.1:1".parse().unwrap());
        let layer = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback()).claims(claims);
        layer.resolve(Some(&peer), &headers).unwrap()
    }

    #[test]
    fn the_request_names_its_host() {
        use RefusalKind::*;
        let (h1, h2) = (Version::HTTP_11, Version::HTTP_2);
        for (version, target, hosts, expected) in [
            (h1, "/", &["A.example."][..], Ok("http://a.example")),
            (h1, "/", &["a.example:443"], Ok("http://a.example")),
            (h1, "/", &["a.example:8080"], Err(HostNotAllowed)),
            (h1, "/", &["c.example"], Err(HostNotAllowed)),
            (h1, "/", &["a.example@c.example"], Err(HostMalformed)),
            (h1, "/", &[], Err(HostMissing)),
            (h1, "/", &[""], Err(HostMissing)),
            (h1, "/", &["a.example", "a.example"], Err(HostDuplicate)),
            (h1, "/", &["a.example, b.example"], Err(HostMalformed)),
            (h1, "https://b.example/x", &["a.example"], Ok("http://b.example")),
            (h1, "http://b.example/x", &[], Ok("http://b.example")),
            (h1, "http://b.example/x", &["c.example"], Ok("http://b.example")),
            (h1, "http://b.example/x", &["c.example@"], Err(HostMalformed)),
            (h1, "http://b.example/x", &["b.example", "b.example"], Err(HostDuplicate)),
            (h1, "http://c.example/x", &["a.example"], Err(HostNotAllowed)),
            (h1, "http://a.example@c.example/", &["a.example"], Err(HostMalformed)),
            (h1, "*", &["a.example"], Ok("http://a.example")),
            (h2, "https://a.example/", &[], Ok("http://a.example")),
            (h2, "https://a.example/", &["A.example:443"], Ok("http://a.example")),
            (h2, "https://a.example/", &["b.example"], Err(HostMismatch)),
            (h2, "https://a.example/", &["a.example:8080"], Err(HostMismatch)),
            (h2, "https://a.example/", &["a.example", "a.example"], Err(HostDuplicate)),
            (h2, "/", &["b.example"], Ok("http://b.example")),
            (Version::HTTP_3, "https://a.example/", &["b.example"], Err(HostMismatch)),
        ] {
            let seen = origin(&layer(), &parts(version, target, hosts));
            assert_eq!(seen, expected.map(str::to_owned), "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn connect_asks_for_the_host_it_wants() {
        for (target, expected) in [
            ("a.example:443", Ok("http://a.example".to_owned())),
            ("c.example:443", Err(RefusalKind::HostNotAllowed)),
        ] {
            let mut parts = parts(Version::HTTP_11, target, &["a.example"]);
            parts.method = Method::CONNECT;
            assert_eq!(origin(&layer(), &parts), expected);
        }
    }

    #[test]
    fn no_host_is_the_default_origin() {
        let layer = layer().default_origin(PublicUrl::from_static("https://c.example/app"));
        for hosts in [&[][..], &[""]] {
            let parts = parts(Version::HTTP_10, "/", hosts);
            assert_eq!(origin(&layer, &parts), Ok("https://c.example/app".to_owned()));
        }
        let parts = parts(Version::HTTP_10, "/", &["-/-"]);
        assert_eq!(origin(&layer, &parts), Err(RefusalKind::HostMalformed));
    }

    #[test]
    fn proxied_is_needed_where_it_is_used() {
        for layer in [layer().use_proxied(), layer().use_proxied_port()] {
            let mut parts = parts(Version::HTTP_11, "/", &["a.example"]);
            assert_eq!(origin(&layer, &parts), Err(RefusalKind::ProxiedMissing));
            parts.extensions.insert(proxied(Claims::none(), &[]));
            assert_eq!(origin(&layer, &parts), Ok("http://a.example".to_owned()));
        }
    }

    #[test]
    fn attested_claims_win_over_the_request() {
        let all = Claims::none().scheme(Written::Set).host(Written::Set).port(Written::Set.optional());
        let said = |lines: &[(&'static str, &str)]| {
            let mut parts = parts(Version::HTTP_11, "/", &["internal/", "internal"]);
            parts.extensions.insert(proxied(all, lines));
            parts
        };
        let https = [("x-forwarded-proto", "https"), ("x-forwarded-host", "b.example:80")];
        let with_port = |port| [https.as_slice(), &[("x-forwarded-port", port)]].concat();
        let layer = layer().use_proxied();
        assert_eq!(origin(&layer, &said(&https)), Ok("https://b.example".to_owned()));
        assert_eq!(origin(&layer, &said(&with_port("8443"))), Ok("https://b.example".to_owned()));

        let layer = layer.use_proxied_port();
        assert_eq!(origin(&layer, &said(&https)), Ok("https://b.example".to_owned()));
        assert_eq!(origin(&layer, &said(&with_port("80"))), Ok("https://b.example".to_owned()));
        assert_eq!(origin(&layer, &said(&with_port("8443"))), Err(RefusalKind::HostNotAllowed));
        assert_eq!(origin(&layer, &said(&with_port("x"))), Err(RefusalKind::ClaimMalformed));
        assert_eq!(origin(&layer, &said(&[])), Err(RefusalKind::ClaimMissing), "a probe without any claim");
        let malformed = [("x-forwarded-proto", "https"), ("x-forwarded-host", "b.example/x")];
        assert_eq!(origin(&layer, &said(&malformed)), Err(RefusalKind::ClaimMalformed));
        let exempt = layer.exempt_path("/");
        assert_eq!(origin(&exempt, &said(&malformed)), Ok(String::new()));
    }

    #[test]
    fn fixed_does_not_look() {
        let layer = ForcedHostLayer::fixed(PublicUrl::from_static("https://a.example/app")).use_proxied();
        for hosts in [&[][..], &["b.example", "c.example"], &["@"]] {
            let parts = parts(Version::HTTP_11, "http://x@y/", hosts);
            assert_eq!(origin(&layer, &parts), Ok("https://a.example/app".to_owned()));
        }
    }

    #[tokio::test]
    async fn what_is_left_in_the_extensions() {
        let sites = Sites::new([
            Site::new("shop", PublicUrl::from_static("https://shop.example/store")),
            Site::new("blog", PublicUrl::from_static("https://blog.example")),
        ]);
        let service = ServiceBuilder::new()
            .layer(ForcedHostLayer::sites(sites.unwrap()).exempt_path("/healthz"))
            .service_fn(|request: Request<()>| async move {
                let mut response = Response::new(());
                *response.extensions_mut() = request.into_parts().0.extensions;
                Ok::<_, Infallible>(response)
            });
        let call = async |path: &str, host: &str| {
            let stale = PublicUrl::from_static("https://stale.example");
            let request = Request::get(path)
                .header("host", host)
                .extension(stale.clone())
                .extension(Site::new("stale", stale))
                .body(())
                .unwrap();
            service.clone().oneshot(request).await.unwrap().into_parts().0
        };

        let shop = call("/", "Shop.example").await;
        assert_eq!(shop.extensions.get::<Site>().map(Site::name), Some("shop"));
        assert_eq!(shop.extensions.get::<PublicUrl>().unwrap().to_string(), "https://shop.example/store");

        let wiki = call("/", "wiki.example").await;
        assert_eq!(wiki.status, 421);
        assert_eq!(wiki.extensions.get::<Refusal>().map(Refusal::kind), Some(RefusalKind::HostNotAllowed));

        let healthz = call("/healthz", "10.0.3.17").await;
        assert_eq!(healthz.status, 200);
        assert_eq!(healthz.extensions.get::<PublicUrl>(), None);
        assert!(healthz.extensions.get::<Site>().is_none());
        assert_eq!(call("/healthz/", "10.0.3.17").await.status, 421);
    }

    #[test]
    fn disabled_knows_nothing() {
        let parts = parts(Version::HTTP_11, "/", &["@"]);
        assert_eq!(ForcedHostLayer::disabled().rewrite_host().resolve(&parts), Ok(None));
    }

    proptest! {
        #[test]
        fn whatever_is_asked_the_origin_is_on_the_list(
            version in prop::sample::select(vec![Version::HTTP_10, Version::HTTP_11, Version::HTTP_2]),
            target in "(/x|https?://[ac.:@8]{0,4}(a\\.example|c\\.example)[.:@0-9]{0,4}/x)",
            hosts in prop::collection::vec("[a.:@8,]{0,3}(a\\.example|c\\.example)[.:@0-9 ]{0,4}", 0..3),
        ) {
            let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
            let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
            let parts = parts(version, &uri.to_string(), &hosts);
            if let Ok(origin) = origin(&layer(), &parts) {
                prop_assert!(["http://a.example", "http://b.example"].contains(&origin.as_str()), "{}", origin);
            }
        }
    }
}
