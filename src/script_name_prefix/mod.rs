//! Under which path is the application mounted?
//!
//! [`ScriptNamePrefix`] gives the inner service paths as if it stood at the root, and gives the browser paths as it
//! must ask for them. It leaves a [`ScriptName`] in the request's extensions.
//!
//! The layer is named from the proxy's side:
//!
//! | the browser asks for | the proxy sends | constructor |
//! |---|---|---|
//! | `/webapps/x` | `/webapps/x` | [`proxy_keeps`](ScriptNamePrefixLayer::proxy_keeps): taken away here |
//! | `/webapps/x` | `/x` | [`proxy_strips`](ScriptNamePrefixLayer::proxy_strips): only known here |
//! | `/webapps/x` | `/django/x` | [`proxy_maps`](ScriptNamePrefixLayer::proxy_maps) |
//! | `/webapps/x` | one of the first two | [`either`](ScriptNamePrefixLayer::either) |
//! | any, as its `X-Forwarded-Prefix` says | `/x` | [`from_proxied`](ScriptNamePrefixLayer::from_proxied) |
//!
//! What the proxy's configuration makes of `/webapps/x`:
//!
//! | proxy | keeps | strips | maps to `/django` |
//! |---|---|---|---|
//! | Apache httpd, `ProxyPass /webapps/ ..` | `http://http-1:8000/webapps/` | `http://http-1:8000/` | `http://http-1:8000/django/` |
//! | nginx, `location /webapps/`, `proxy_pass ..` | `http://http-1:8000` | `http://http-1:8000/` | `http://http-1:8000/django/` |
//! | HAProxy, `http-request replace-path ..` | no such line | `^/webapps/(.*) /\1` | `^/webapps/(.*) /django/\1` |
//! | Traefik | no middleware | `stripPrefix` | `replacePathRegex` |
//! | Kubernetes, ingress-nginx, `path: /webapps(/\|$)(.*)` | no annotation | `rewrite-target: /$2` | `rewrite-target: /django/$2` |
//!
//! With Apache httpd and nginx, end both sides with a slash or neither: of `/webapps` and `http://http-1:8000/`,
//! `/webapps/x` arrives as `//x` (which this layer reads as `/x`), and nginx sends `/webappsX` as `/X`. nginx decodes
//! and normalises the path where `proxy_pass` has a path, and hands it on byte for byte where it has none.
//! Traefik's `stripPrefix` compares texts and not segments, and adds `X-Forwarded-Prefix` to a client's: that is
//! [`AppendedByNearest`](crate::forwarded_for::Written::AppendedByNearest). ingress-nginx writes the field with the
//! annotation `x-forwarded-prefix`.
//!
//! # What it decides, in order
//!
//! 1. A target without a path (`OPTIONS *`, `CONNECT host:port`; RFC 9112, sections 3.2.3 and 3.2.4) passes untouched
//!    and without a `ScriptName`.
//! 2. `from_proxied` without a [`Proxied`](crate::Proxied) in the extensions is refused with 500; a claim that is
//!    malformed, or required and missing, with 400.
//! 3. The path must be below the prefix, by whole segments
//!    ([`strip_prefix`](crate::wire::path::strip_prefix); CVE-2026-48020), else it is refused with 404, or passes
//!    untouched ([`Unmatched::PassThrough`]).
//! 4. `..` that climbs out of the prefix, in any spelling ([`climbs_out`](crate::wire::dot_segments::climbs_out)), is refused
//!    with 400: a rule outside for one path must not guard another.
//! 5. The bare mount point is served as `/`, or redirected to the one with a slash ([`Bare::Redirect308`]).
//! 6. The rest goes in byte for byte, but several slashes at its start become one: an inner redirect to `//host/`
//!    would leave this host (CVE-2018-14574).
//! 7. [`ScriptName`] is set; inside of another layer of this kind the prefixes add up, and the path that the browser
//!    asked for stays. With the feature `axum`, `OriginalUri` is set to it, unless a `Router` outside has taken away a
//!    prefix of its own. A [`PublicUrl`](crate::PublicUrl) gets this prefix, unless the prefix is empty.
//!
//! In the response (all of it by parsed reference, RFC 3986, section 4.1, never by comparing texts):
//!
//! 1. The answer to a gRPC call is metadata, and passes as it is.
//! 2. `Location`, `Content-Location`, `Refresh`, `Link` and the `Path` of `Set-Cookie` are rewritten, whatever the
//!    status; [`ResponseRewrite`] says otherwise.
//! 3. A path that is below the public prefix already is left alone ([`AlreadyPrefixed`]), unless `..` leads out of it.
//!    Rewriting twice is therefore rewriting once. A layer inside of others which do so writes their prefixes too: of
//!    `/a` below `/a`, a redirect to `/x` becomes `/a/a/x`, once.
//! 4. After [`proxy_maps`](ScriptNamePrefixLayer::proxy_maps), a path below the received prefix changes to the public
//!    one.
//! 5. Any other absolute path gets the prefix. If it climbs above the root, its dot segments are resolved first. A
//!    backslash at the start is a slash, as in browsers.
//! 6. A relative path is left alone, unless the browser would come out elsewhere than the inner service means.
//! 7. A URL whose authority is the one of `PublicUrl`, or internal, has its path rewritten; an internal authority
//!    becomes the public origin where `PublicUrl` is known. All other hosts are left alone, compared as a whole, and
//!    so is an authority with user info, triplets or backslashes. `https:/x`, which browsers take for a path on a
//!    page of https, is one where `PublicUrl` has that scheme.
//! 8. `Path=/` becomes the prefix without a slash, so that the bare mount point is in it. `__Host-` cookies, which
//!    are void under any other path, are left alone. At the bare mount point, a cookie without a path gets one, which
//!    would else be the whole host (RFC 6265, section 5.1.4). A path in quotes is none to browsers.
//! 9. What cannot be parsed is left alone, byte for byte; so is a scheme with a tab in it, which browsers delete.
//!
//! A browser that follows a rewritten reference is thus below origin and prefix, unless the application named another
//! host.
//!
//! # Cost and limits
//!
//! A request costs the boxed [`ScriptName`], and one copy of a path that is cut; with the feature `axum`,
//! `OriginalUri` as well, where it is not there or another. A response costs one allocation of the exact size for each
//! value that is rewritten, and none where nothing is; references with `..` that leads out are resolved in buffers of
//! their own. Time grows with the length of the path and with that of the response fields, not with their product.
//!
//! `http` holds no URI longer than 65534 bytes: then there is no `OriginalUri`, and [`ScriptName::public_path`] still
//! tells the path.
//!
//! Not rewritten are bodies, trailers, and interim responses (100, 103), which the server writes itself.
//!
//! # In axum: around the router, never inside
//!
//! `Router::layer` puts a layer behind the choice of a route, and that choice is made by the path with the prefix:
//!
//! ```text
//! wrong:  Router::new().route("/login", ..).layer(prefix)
//!
//!         /webapps/login ──> [ Router: which route?  none ] ──> [ prefix: /login ] ──> axum's 404
//!         /login         ──> [ Router: which route?  /login ] ──> [ prefix: not below /webapps ] ──> this layer's 404
//!
//! right:  Router::new().fallback_service(ServiceBuilder::new().layer(prefix).service(app))
//!
//!         /webapps/login ──> [ prefix: /login ] ──> [ Router: which route?  /login ] ──> handler
//! ```
//!
//! The layer cannot tell the two apart: axum gives it a service of the same type, and an outer `Router` without routes
//! of its own (`Router::new().fallback_service(app).layer(prefix)`) is right. A 404 shows whose it is:
//!
//! | its body | who refused | why |
//! |---|---|---|
//! | none | axum: no route is of the path | the layer stands inside of the `Router`, which has routed by the path with the prefix; or `Router::nest` strips the prefix a second time |
//! | `not found: the path is outside of the prefix …`, with a [`Refusal`](crate::Refusal) in the extensions | this layer | the proxy, or `Router::nest` outside, has stripped it already ([`proxy_strips`](ScriptNamePrefixLayer::proxy_strips)), or the prefix is another one |
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use http::Request;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_proxied::{PathPrefix, Refusal, ScriptNamePrefixLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let prefix = ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps"));
//! let app = || Router::new().route("/login", get(async || "in"));
//! let login = || Request::get("/webapps/login").body(Body::empty());
//!
//! let wrong = app().layer(prefix.clone()).oneshot(login()?).await?;
//! assert_eq!(wrong.status(), 404);
//! assert!(wrong.extensions().get::<Refusal>().is_none(), "it is axum's");
//!
//! let right = Router::new().fallback_service(ServiceBuilder::new().layer(prefix).service(app()));
//! assert_eq!(right.oneshot(login()?).await?.status(), 200);
//!
//! // `nest` is a proxy that strips.
//! let strips = ScriptNamePrefixLayer::proxy_strips(PathPrefix::from_static("/webapps"));
//! let nested = Router::new().nest("/webapps", app().layer(strips));
//! assert_eq!(nested.oneshot(login()?).await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # Deployment caveats
//!
//! If the proxy rewrites responses itself (`ProxyPassReverse`, `proxy_redirect`), do it in one place only.
//!
//! Set-Cookie paths stop one application from being sent another's cookies by accident; they are no border between
//! applications of one host.
//!
//! # Example
//!
//! ```
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_proxied::{PathPrefix, ScriptName, ScriptNamePrefixLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = ServiceBuilder::new()
//!     .layer(ScriptNamePrefixLayer::proxy_keeps(PathPrefix::parse("/webapps")?))
//!     .service_fn(|request: Request<String>| async move {
//!         assert_eq!(request.uri().path(), "/login");
//!         let script_name = request.extensions().get::<ScriptName>().expect("the layer puts it there");
//!         assert_eq!(script_name.prefix().as_str(), "/webapps");
//!         assert_eq!(script_name.public_path(), "/webapps/login?next=1");
//!         Response::builder()
//!             .status(302)
//!             .header("location", "/home")
//!             .header("set-cookie", "sid=1; Path=/; HttpOnly")
//!             .body(String::new())
//!     });
//! let response = service.oneshot(Request::get("/webapps/login?next=1").body(String::new())?).await?;
//! assert_eq!(response.headers()["location"], "/webapps/home");
//! assert_eq!(response.headers()["set-cookie"], "sid=1; Path=/webapps; HttpOnly");
//! # Ok(())
//! # }
//! ```

mod config;
mod internal;
mod mount;
mod response;
mod rules;
mod script_name;

use std::sync::Arc;

use self::config::Config;
pub use self::internal::{InternalAuthorities, InternalAuthorityError};
use self::mount::Mode;
pub use self::mount::Mounts;
pub use self::response::PublicPaths;
use self::rules::Rules;
pub use self::rules::{AlreadyPrefixed, ResponseRewrite};
pub use self::script_name::ScriptName;
pub use crate::body::ResponseBody;
use crate::shell::{ExemptPaths, edit, shell};
use crate::wire::path::PathPrefix;

/// Response future of [`ScriptNamePrefix`].
pub type ResponseFuture<F> = crate::future::ResponseFuture<F, PublicPaths>;

shell! {
    /// Layer of [`ScriptNamePrefix`]; see the [module](crate::script_name_prefix) for what it decides.
    layer ScriptNamePrefixLayer;
    /// Mounts the inner service under a prefix; see the [module](crate::script_name_prefix).
    service ScriptNamePrefix;
    unit Config, owes PublicPaths;
}

impl ScriptNamePrefixLayer {
    /// The proxy sends paths with the prefix: it is taken away here.
    ///
    /// Apache httpd: `ProxyPass /webapps/ http://http-1:8000/webapps/`. nginx: `location /webapps/ { proxy_pass
    /// http://http-1:8000; }`. HAProxy, Traefik and Kubernetes without a rule that rewrites the path.
    pub fn proxy_keeps(prefix: PathPrefix) -> Self {
        Self::of(Mode::Keeps(prefix))
    }

    /// The proxy has taken the prefix away: paths go in as they come, and one that begins like the prefix is a path
    /// of the application.
    ///
    /// Apache httpd: `ProxyPass /webapps/ http://http-1:8000/`. nginx: `location /webapps/ { proxy_pass
    /// http://http-1:8000/; }`. HAProxy: `http-request replace-path ^/webapps/(.*) /\1`. Traefik: `stripPrefix`.
    /// ingress-nginx: `rewrite-target: /$2`. axum: `Router::nest`.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::{PathPrefix, ScriptName, ScriptNamePrefixLayer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let service = ServiceBuilder::new()
    ///     .layer(ScriptNamePrefixLayer::proxy_strips(PathPrefix::parse("/webapps")?))
    ///     .service_fn(|request: Request<String>| async move {
    ///         assert_eq!(request.uri(), "/login");
    ///         assert_eq!(request.extensions().get::<ScriptName>().unwrap().public_path(), "/webapps/login");
    ///         Response::builder().header("location", "/home").body(String::new())
    ///     });
    /// let response = service.oneshot(Request::get("/login").body(String::new())?).await?;
    /// assert_eq!(response.headers()["location"], "/webapps/home");
    /// # Ok(())
    /// # }
    /// ```
    pub fn proxy_strips(prefix: PathPrefix) -> Self {
        Self::of(Mode::Strips(prefix))
    }

    /// The proxy replaces the public prefix by another one, which is taken away here.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::script_name_prefix::Mounts;
    /// use tower_proxied::{PathPrefix, ScriptNamePrefixLayer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // Apache httpd: ProxyPass /webapps http://http-1:8000/django
    /// // nginx: location /webapps/ { proxy_pass http://http-1:8000/django/; }
    /// // ingress-nginx: rewrite-target: /django/$2
    /// let service = ServiceBuilder::new()
    ///     .layer(ScriptNamePrefixLayer::proxy_maps(Mounts {
    ///         public: PathPrefix::from_static("/webapps"),
    ///         received: PathPrefix::from_static("/django"),
    ///     }))
    ///     .service_fn(async |request: Request<()>| {
    ///         assert_eq!(request.uri(), "/login");
    ///         Response::builder().header("location", "/django/home").body(String::new())
    ///     });
    /// let response = service.oneshot(Request::get("/django/login").body(())?).await?;
    /// assert_eq!(response.headers()["location"], "/webapps/home");
    /// # Ok(())
    /// # }
    /// ```
    pub fn proxy_maps(mounts: Mounts) -> Self {
        Self::of(Mode::Maps(mounts))
    }

    /// The prefix is taken away where a path has it, and only known where it has none.
    ///
    /// This is ambiguous: behind a proxy that strips, the application cannot have a route named like the prefix. Use
    /// it only where both kinds of proxies reach one listener.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::{PathPrefix, ScriptName, ScriptNamePrefixLayer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let service = ServiceBuilder::new()
    ///     .layer(ScriptNamePrefixLayer::either(PathPrefix::from_static("/webapps")))
    ///     .service_fn(async |request: Request<()>| {
    ///         assert_eq!(request.uri(), "/login");
    ///         let script_name = request.extensions().get::<ScriptName>().expect("the layer puts it there");
    ///         assert_eq!(script_name.public_path(), "/webapps/login");
    ///         Ok::<_, std::convert::Infallible>(Response::new(()))
    ///     });
    /// for target in ["/webapps/login", "/login"] {
    ///     assert_eq!(service.clone().oneshot(Request::get(target).body(())?).await?.status(), 200);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn either(prefix: PathPrefix) -> Self {
        Self::of(Mode::Either(prefix))
    }

    /// The proxies have taken the prefix away, and say so in `X-Forwarded-Prefix`: read from the
    /// [`Proxied`](crate::Proxied) that [`ForwardedFor`](crate::ForwardedFor) leaves, where the prefix must be
    /// declared among its [`Claims`](crate::forwarded_for::Claims). Where it is not declared, or optional and absent,
    /// the prefix is empty.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::forwarded_for::{Claims, Written};
    /// use tower_proxied::{ForwardedForLayer, PeerAddr, ScriptNamePrefixLayer, TrustedProxies};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let service = ServiceBuilder::new()
    ///     .layer(PeerAddr::layer("127.0.0.1:4711".parse::<std::net::SocketAddr>()?))
    ///     .layer(
    ///         ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback())
    ///             .claims(Claims::none().prefix(Written::Set)),
    ///     )
    ///     .layer(ScriptNamePrefixLayer::from_proxied())
    ///     .service_fn(async |_: Request<()>| Response::builder().header("location", "/home").body(String::new()));
    ///
    /// let says = |prefix: &str| Request::get("/login").header("x-forwarded-prefix", prefix).body(());
    /// let response = service.clone().oneshot(says("/webapps")?).await?;
    /// assert_eq!(response.headers()["location"], "/webapps/home");
    /// let refused = service.oneshot(says("//evil.example")?).await?;
    /// assert_eq!(refused.status(), 400);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_proxied() -> Self {
        Self::of(Mode::FromProxied)
    }

    /// What becomes of a path outside of the prefix. [`Unmatched::NotFound`] unless said.
    pub fn unmatched(mut self, unmatched: Unmatched) -> Self {
        edit(&mut self.config, |config| config.unmatched = unmatched);
        self
    }

    /// What becomes of the prefix itself, without a slash at its end. [`Bare::Serve`] unless said.
    pub fn bare(mut self, bare: Bare) -> Self {
        edit(&mut self.config, |config| config.bare = bare);
        self
    }

    /// Which response fields are rewritten.
    pub fn rewrite(self, rewrite: ResponseRewrite) -> Self {
        self.rules(|rules| rules.rewrite = rewrite)
    }

    /// What becomes of a path in a response that has the prefix already. [`AlreadyPrefixed::Skip`] unless said.
    pub fn already_prefixed(self, already_prefixed: AlreadyPrefixed) -> Self {
        self.rules(|rules| rules.already_prefixed = already_prefixed)
    }

    /// Authorities under which only the proxies know this application. In responses they become the public origin
    /// where a [`PublicUrl`](crate::PublicUrl) is known; else only the path behind them is rewritten.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    /// use tower_proxied::script_name_prefix::InternalAuthorities;
    /// use tower_proxied::{PathPrefix, ScriptNamePrefixLayer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let service = ServiceBuilder::new()
    ///     .layer(
    ///         ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps"))
    ///             .internal_authorities(InternalAuthorities::from_static(&["http-1:8000"])),
    ///     )
    ///     .service_fn(async |_: Request<()>| {
    ///         Response::builder().header("location", "http://http-1:8000/home").body(String::new())
    ///     });
    /// let response = service.oneshot(Request::get("/webapps/login").body(())?).await?;
    /// assert_eq!(response.headers()["location"], "http://http-1:8000/webapps/home");
    /// # Ok(())
    /// # }
    /// ```
    pub fn internal_authorities(self, internal: InternalAuthorities) -> Self {
        self.rules(|rules| rules.internal = internal)
    }

    /// A path, as it arrives, that is never refused: where it would be, it passes untouched.
    pub fn exempt_path(mut self, path: &str) -> Self {
        edit(&mut self.config, |config| config.exempt.add(path));
        self
    }

    fn of(mode: Mode) -> Self {
        let rules = Rules {
            rewrite: ResponseRewrite::default(),
            already_prefixed: AlreadyPrefixed::Skip,
            internal: InternalAuthorities::default(),
        };
        Config {
            mode,
            unmatched: Unmatched::NotFound,
            bare: Bare::Serve,
            exempt: ExemptPaths::default(),
            rules: Arc::new(rules),
        }
        .into()
    }

    fn rules(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        edit(&mut self.config, |config| change(Arc::make_mut(&mut config.rules)));
        self
    }
}

/// What becomes of a path outside of the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unmatched {
    /// It is refused with 404.
    NotFound,
    /// It passes untouched, with the prefix of the layers outside, which may be empty.
    PassThrough,
}

/// What becomes of the prefix itself, without a slash at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bare {
    /// It is served as `/`. Relative links of that page lead out of the prefix: browsers resolve them against the
    /// folder above.
    Serve,
    /// It is redirected with 308 to the one with a slash, the query kept.
    Redirect308,
}

#[cfg(test)]
mod tests;
