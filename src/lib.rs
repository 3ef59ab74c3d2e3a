//! Tower middleware for both sides of a reverse proxy: what [tower-http] is for HTTP in general, this is for
//! everything that a proxy in between breaks.
//!
//! ```text
//! browser ──http/https──> FRONT END                              APPLICATION SERVERS  http-1 http-2 / https-1 https-2
//!                         SetForwarded    (X-Forwarded-*)        ForwardedFor      who is the client, what did the proxies attest
//!                         SetRemoteUser   (Remote-User)    ──>   ProxyRemoteUser   who is logged in, without a user database
//!                         StickyRoute over members               ForcedHost        public address, absolute links
//!                         Upstream + HTTP client                 ScriptNamePrefix  mounted under /webapps
//!                                                                ForceHttpsBody    no mixed content
//! ```
//!
//! The front end may as well be Apache httpd, nginx or HAProxy, and the application anything that speaks HTTP.
//!
//! # Units
//!
//! | layer | leaves in the extensions | question that it answers |
//! |---|---|---|
//! | [`BehindProxy`] | those of the next five | All of the application side, in the one right order. |
//! | [`ForwardedFor`] | [`Proxied`] | Who is the client? Which scheme, host, port and prefix do the proxies attest? |
//! | [`ProxyRemoteUser`] | [`Identity`] | Who is logged in, as the proxy says? |
//! | [`RequireGroup`](proxy_remote_user::RequireGroup) | | Only users of some groups come in. |
//! | [`ForcedHost`] | [`PublicUrl`] | Where does this application live, as the browser sees it? |
//! | [`ScriptNamePrefix`] | [`ScriptName`] | Under which path is it mounted? |
//! | [`ForceHttpsBody`] | | No mixed content on pages that came by https. |
//! | [`RouteSuffix`] | | The route in the session's cookie, as Apache httpd wants it. |
//! | [`SetForwarded`], [`SetRemoteUser`], [`Upstream`] | | The front end's writers. |
//! | [`StickyRoute`] | [`Decision`](sticky_route::Decision) in the response | Balancing with sticky sessions. |
//! | [`StickyAdmin`](sticky_route::StickyAdmin) | | A page where operators drain members and bring them back. |
//! | [`ErrorsTo502`] | | Errors of an upstream as responses. |
//!
//! # Whom is believed
//!
//! The **socket's peer** decides ([`PeerAddr`]), by a set of addresses that the operator wrote down
//! ([`TrustedProxies`]). A peer that is not in the set, and one that nobody knows, is a stranger: all forwarding and
//! identity headers of its requests go, in every spelling. Behind a trusted proxy only that survives which the
//! proxy wrote itself. What a proxy merely relays from the client is not believed: claims must be declared
//! ([`Claims`](forwarded_for::Claims)), and where a client can have a declared field removed, the request is
//! refused, never downgraded.
//!
//! # Start
//!
//! In axum; [`guide::start`] has the same for tonic and hyper:
//!
//! ```toml
#![doc = include_str!("../docs/start/axum.toml")]
//! ```
//!
//! ```no_run
#![doc = include_str!("../docs/start/axum.rs")]
//! ```
//!
//! [`guide::how_do_i`] answers what comes next: logs, rate limits, mails, several sites, users of oauth2-proxy, gRPC.
//!
//! # Order
//!
//! [`BehindProxyLayer`] is the whole application side in one layer, and its [page](behind_proxy) says why each unit stands
//! where it does. Who stacks layers by hand keeps that order, outermost first: [`ForwardedFor`] (the only one that reads
//! forwarding headers), [`ProxyRemoteUser`] (so that nothing further in sees an identity header), [`ForcedHost`] (wants the
//! attested host and scheme), [`ScriptNamePrefix`] (completes the public URL; a 404 without a body is axum's own, of a router
//! that this layer stands inside of), [`ForceHttpsBody`] (wants scheme and own host). A layer that needs another's
//! extension and finds none answers 500 and names it.
//!
//! axum's `Router::layer` runs after routing. A layer that changes the path must stand outside of the router that routes,
//! around one whose fallback it is:
//!
//! ```
//! use axum::{Router, routing::get};
//! use http::{Request, header};
//! use tower::ServiceExt;
//! use tower_proxied::forwarded_for::Front;
//! use tower_proxied::{
//!     BehindProxyLayer, ForcedHostLayer, ForwardedForLayer, PathPrefix, PeerAddr, PublicUrl, ScriptNamePrefixLayer,
//!     TrustedProxies,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let router = Router::new().route("/", get(|url: PublicUrl| async move { url.to_string() }));
//! let behind_proxy =
//!     BehindProxyLayer::new(ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback()).front(Front::Nginx))
//!         .forced_host(ForcedHostLayer::fixed(PublicUrl::parse("https://www.example.org")?))
//!         .script_name_prefix(ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps")));
//! let app = Router::new().fallback_service(router).layer(behind_proxy);
//! // axum::serve(listener, app.into_make_service_with_connect_info::<PeerAddr>()).await?;
//!
//! let mut request = Request::get("/webapps/").header(header::HOST, "app").body(axum::body::Body::empty())?;
//! request.extensions_mut().insert(PeerAddr::Tcp(([127, 0, 0, 1], 4711).into()));
//! let response = app.oneshot(request).await?;
//! let body = axum::body::to_bytes(response.into_body(), 1024).await?;
//! assert_eq!(body, "https://www.example.org/webapps");
//! # Ok(())
//! # }
//! ```
//!
//! # Refusals
//!
//! Layers add no error of their own: `type Error = S::Error`. A request that cannot be let through is answered with a
//! [`Refusal`], a response of one fixed sentence, `Cache-Control: no-store`, and the typed reason in its extensions; a
//! gRPC request gets a gRPC status. Nothing is asked of the inner body, so that layers stand outside of
//! `tower_http::trace::TraceLayer` as well as directly over a hyper client.
//!
//! A layer that refuses keeps the readiness of the inner service until it is dropped or called again, as other Tower
//! middleware does. That matters only where one service value is kept and shared by hand over a
//! `ConcurrencyLimit`.
//!
//! Coming from elsewhere? The [`guide`] says what axum-extra's `Host` and `Scheme`, axum-client-ip, Django's settings and
//! Apache's directives are here, and [`guide::attacks`] which attacks are held off, by which test.
//!
//! # Features
//!
//! | feature | adds | default |
//! |---|---|---|
//! | | the four header units and [`ErrorsTo502`] | always |
//! | `force-https-body` | [`ForceHttpsBody`], and [`BehindProxy`], which holds it | yes |
//! | `sticky-route` | [`StickyRoute`], [`RouteSuffix`] | |
//! | `admin` | [`StickyAdmin`](sticky_route::StickyAdmin): operators see and change the members of a running pool | |
//! | `front` | [`SetForwarded`], [`SetRemoteUser`], [`Upstream`] | |
//! | `client` | tells a failed connect of hyper-util's client from a failed exchange | |
//! | `client-http2` | the same over HTTP/2, where servers refuse streams | |
//! | `axum` | extractors, [`ClientIp`] among them, and `Connected` for [`PeerAddr`] | |
//! | `tonic`, `tonic-tls` | the peer of tonic's servers, the latter over TLS; tells a failed connect of tonic's `Channel` from a failed exchange | |
//! | `reload` | [`SharedProxies`](trust::SharedProxies), replaced while requests are served | |
//! | `serde` | [`PublicUrl`], [`PathPrefix`], [`AllowedHosts`](forced_host::AllowedHosts), [`TrustedProxies`], [`BehindProxyConfig`] in configuration files | |
//! | `idn` | host names in Unicode in the configuration | |
//! | `tracing` | the fields of spans: [`trace`]; events: a service wired without peer information; [`StickyRoute`]'s members fail, are ejected, come back | |
//! | `tower` | the layers as methods of tower's `ServiceBuilder`: [`ProxiedServiceBuilderExt`]; with `sticky-route`, members from a `Discover`, and `Load` | |
//! | `test-util` | values that only a layer can mint, for tests | |
//! | `full` | all of these | |
//!
//! A feature adds items and never changes behaviour.
//!
//! [tower-http]: https://docs.rs/tower-http
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::disallowed_methods,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unwrap_used
    )
)]

mod asked_host;
#[cfg(feature = "force-https-body")]
pub mod behind_proxy;
pub mod body;
mod configured_host;
pub mod errors_to_502;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "force-https-body")]
pub mod force_https_body;
pub mod forced_host;
pub mod forwarded_for;
#[cfg(feature = "front")]
pub mod front;
pub mod future;
pub mod guide;
mod header_map;
mod literal;
pub mod proxy_remote_user;
mod refusal;
pub mod script_name_prefix;
#[cfg(feature = "serde")]
mod serde;
#[cfg(feature = "tower")]
mod service_builder;
mod shell;
#[cfg(feature = "sticky-route")]
pub mod sticky_route;
#[cfg(feature = "tracing")]
pub mod trace;
pub mod trust;
pub mod wire;

#[cfg(feature = "force-https-body")]
#[doc(inline)]
pub use crate::behind_proxy::{BehindProxy, BehindProxyConfig, BehindProxyLayer};
#[doc(inline)]
pub use crate::errors_to_502::{ErrorsTo502, ErrorsTo502Layer};
#[cfg(feature = "axum")]
pub use crate::extract::ClientIp;
#[cfg(feature = "force-https-body")]
#[doc(inline)]
pub use crate::force_https_body::{ForceHttpsBody, ForceHttpsBodyLayer};
#[doc(inline)]
pub use crate::forced_host::{ForcedHost, ForcedHostLayer, PublicUrl};
#[doc(inline)]
pub use crate::forwarded_for::{ForwardedFor, ForwardedForLayer, Proxied};
#[cfg(feature = "front")]
#[doc(inline)]
pub use crate::front::{
    SetForwarded, SetForwardedLayer, SetRemoteUser, SetRemoteUserLayer, Upstream, UpstreamLayer,
};
#[doc(inline)]
pub use crate::proxy_remote_user::{
    Anonymous, DetachedUser, Identity, Proof, ProxyRemoteUser, ProxyRemoteUserLayer, RemoteUser, Secret,
};
pub use crate::refusal::{Refusal, RefusalKind};
#[doc(inline)]
pub use crate::script_name_prefix::{ScriptName, ScriptNamePrefix, ScriptNamePrefixLayer};
#[cfg(feature = "tower")]
pub use crate::service_builder::ProxiedServiceBuilderExt;
#[cfg(feature = "sticky-route")]
#[doc(inline)]
pub use crate::sticky_route::{RouteSuffix, RouteSuffixLayer, StickyRoute};
#[doc(inline)]
pub use crate::trust::{PeerAddr, TrustedProxies};
pub use crate::wire::host::Scheme;
pub use crate::wire::path::{PathPrefix, PathPrefixError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
