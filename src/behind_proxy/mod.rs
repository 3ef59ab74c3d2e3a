//! The whole application side in one layer, in the one right order.
//!
//! # What it does, in order
//!
//! | | unit | why there |
//! |---|---|---|
//! | 1 | [`ForwardedForLayer`] | The others build on who the client is and what the proxies attest; nothing further in sees a forwarding header that a client wrote. |
//! | 2 | [`ProxyRemoteUserLayer`] | Before anything answers for the application, so that nothing further in sees an identity header. Where none is given, **all identity headers go**, and everybody is [`Anonymous`](crate::Anonymous). |
//! | 3 | [`ForcedHostLayer`] | A request for a host that is not ours ends before its path is looked at; wants the attested scheme and host of 1. |
//! | 4 | [`ScriptNamePrefixLayer`] | Completes the public URL of 3, and puts the prefix before the paths of the response. |
//! | 5 | [`ForceHttpsBodyLayer`] | Next to the application, since it reads bodies as the application wrote them; wants the scheme of 1 and the own host of 3. |
//!
//! A request that one unit refuses is not seen by the next one. Each unit does exactly what it does alone; see its own
//! page for its decisions. It is one service with one future, whatever is in it: what the compiler says of a stack stays
//! short.
//!
//! # Two ways to build it
//!
//! From the units' own layers, as below; or from text, as [`BehindProxyConfig`] reads it: key by key, from the
//! environment, or with serde (feature `serde`).
//!
//! # Cost and limits
//!
//! What its units cost, each once; a unit that is not given costs nothing, but for the removal of identity headers. The
//! response body's data must be [`Bytes`], as with axum, hyper and tonic. For compression see
//! [`force_https_body`](crate::force_https_body): it stands outside of this layer.
//!
//! It needs the feature `force-https-body`, which is on unless it was switched off.
//!
//! # Deployment caveats
//!
//! It changes the path: in axum it stands around the `Router`, as [everything that does](crate::script_name_prefix). Give
//! the server's connection information: `into_make_service_with_connect_info`, or [`PeerAddr::layer`](crate::PeerAddr).
//!
//! # Example
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use http::Request;
//! use tower::{Layer, ServiceExt};
//! use tower_proxied::forwarded_for::Front;
//! use tower_proxied::{
//!     BehindProxyLayer, ForcedHostLayer, ForwardedForLayer, Identity, PathPrefix, PeerAddr, Proxied, PublicUrl,
//!     ScriptNamePrefixLayer, TrustedProxies,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async fn home(proxied: Proxied, url: PublicUrl, identity: Identity) -> String {
//!     let client = proxied.client().map_or_else(|| String::from("nobody"), |client| client.to_string());
//!     format!("{client} at {url}, {}", if identity.user().is_some() { "known" } else { "unknown" })
//! }
//!
//! let proxies = TrustedProxies::parse(["10.0.0.0/8"])?;
//! let behind_proxy = BehindProxyLayer::new(ForwardedForLayer::x_forwarded_for(proxies).front(Front::Nginx))
//!     .forced_host(ForcedHostLayer::fixed(PublicUrl::parse("https://www.example.org")?))
//!     .script_name_prefix(ScriptNamePrefixLayer::proxy_keeps(PathPrefix::parse("/webapps")?));
//! let app = behind_proxy.layer(Router::new().route("/", get(home)));
//! // axum::serve(listener, Router::new().fallback_service(app)
//! //     .into_make_service_with_connect_info::<PeerAddr>()).await?;
//!
//! let mut request = Request::get("/webapps/")
//!     .header("host", "www.example.org")
//!     .header("x-forwarded-for", "6.6.6.6, 192.0.2.7")
//!     .header("x-forwarded-proto", "https")
//!     .header("x-forwarded-host", "www.example.org")
//!     .header("remote-user", "admin")
//!     .body(Body::empty())?;
//! request.extensions_mut().insert(PeerAddr::Tcp(([10, 0, 0, 5], 4711).into()));
//! let response = app.oneshot(request).await?;
//! let page = axum::body::to_bytes(Body::new(response.into_body()), 1024).await?;
//! assert_eq!(page, "192.0.2.7 at https://www.example.org/webapps, unknown");
//! # Ok(())
//! # }
//! ```

mod config;
mod error;

use bytes::Bytes;
use http::{Response, request};
use http_body::Body;

pub use self::config::BehindProxyConfig;
pub use self::error::BehindProxyError;
pub use crate::body::ResponseBody;
use crate::force_https_body::{ForceHttpsBodyLayer, UpgradedBody, Upgrades};
use crate::forced_host::ForcedHostLayer;
use crate::forwarded_for::ForwardedForLayer;
use crate::future::{Nothing, Owed, sealed};
use crate::proxy_remote_user::ProxyRemoteUserLayer;
use crate::refusal::Refusal;
use crate::script_name_prefix::{PublicPaths, ScriptNamePrefixLayer};
use crate::shell::{Judge, Unit, edit, shell};

/// Response future of [`BehindProxy`].
pub type ResponseFuture<F> = crate::future::ResponseFuture<F, OwedBehindProxy>;

shell! {
    /// Layer of [`BehindProxy`]; see the [module](crate::behind_proxy) for what it does.
    layer BehindProxyLayer;
    /// All units of the application side, in the one right order; see the [module](crate::behind_proxy).
    service BehindProxy;
    unit Units, owes OwedBehindProxy;
}

impl BehindProxyLayer {
    /// With [`ForwardedFor`](crate::ForwardedFor) alone, and without identity headers: all other units are off.
    pub fn new(forwarded_for: ForwardedForLayer) -> Self {
        Units {
            forwarded_for,
            proxy_remote_user: ProxyRemoteUserLayer::disabled(),
            forced_host: ForcedHostLayer::disabled(),
            script_name_prefix: ScriptNamePrefixLayer::disabled(),
            force_https_body: ForceHttpsBodyLayer::disabled(),
            exempt: Vec::new(),
        }
        .into()
    }

    /// With a user whom the proxy names.
    pub fn proxy_remote_user(self, layer: ProxyRemoteUserLayer) -> Self {
        self.with(|units| units.proxy_remote_user = layer)
    }

    /// With a public URL. One that is not [fixed](ForcedHostLayer::fixed) usually wants
    /// [`use_proxied`](ForcedHostLayer::use_proxied).
    pub fn forced_host(self, layer: ForcedHostLayer) -> Self {
        self.with(|units| units.forced_host = layer)
    }

    /// Mounted below a prefix.
    pub fn script_name_prefix(self, layer: ScriptNamePrefixLayer) -> Self {
        self.with(|units| units.script_name_prefix = layer)
    }

    /// Without mixed content on https pages.
    pub fn force_https_body(self, layer: ForceHttpsBodyLayer) -> Self {
        self.with(|units| units.force_https_body = layer)
    }

    /// A path, as it arrives here and byte for byte, that none of the units refuses: that of a health probe. It holds for
    /// units that are given later, too.
    pub fn exempt_path(self, path: &str) -> Self {
        self.with(|units| units.exempt.push(path.into()))
    }

    fn with(mut self, change: impl FnOnce(&mut Units)) -> Self {
        edit(&mut self.config, |units| {
            change(units);
            units.exempt_all();
        });
        self
    }
}

/// What the units owe to the response. Opaque.
#[derive(Debug)]
pub struct OwedBehindProxy {
    paths: PublicPaths,
    upgrades: Upgrades,
}

impl sealed::Sealed for OwedBehindProxy {}

#[diagnostic::do_not_recommend]
impl<R> Owed<R> for OwedBehindProxy
where
    R: Body<Data = Bytes>,
{
    type Body = UpgradedBody<R, R::Error>;

    fn settle(self, response: Response<R>) -> Response<Self::Body> {
        self.paths.settle(self.upgrades.settle(response))
    }
}

#[derive(Clone, Debug)]
struct Units {
    forwarded_for: ForwardedForLayer,
    proxy_remote_user: ProxyRemoteUserLayer,
    forced_host: ForcedHostLayer,
    script_name_prefix: ScriptNamePrefixLayer,
    force_https_body: ForceHttpsBodyLayer,
    exempt: Vec<Box<str>>,
}

impl Units {
    fn exempt_all(&mut self) {
        for path in &self.exempt {
            self.forwarded_for = self.forwarded_for.clone().exempt_path(path);
            self.proxy_remote_user = self.proxy_remote_user.clone().exempt_path(path);
            self.forced_host = self.forced_host.clone().exempt_path(path);
            self.script_name_prefix = self.script_name_prefix.clone().exempt_path(path);
            self.force_https_body = self.force_https_body.clone().exempt_path(path);
        }
    }
}

impl Unit for Units {
    type Owed = OwedBehindProxy;

    fn on_request(&self, parts: &mut request::Parts) -> Result<OwedBehindProxy, Refusal> {
        let Nothing = self.forwarded_for.judge(parts)?;
        let Nothing = self.proxy_remote_user.judge(parts)?;
        let Nothing = self.forced_host.judge(parts)?;
        let paths = self.script_name_prefix.judge(parts)?;
        let upgrades = self.force_https_body.judge(parts)?;
        Ok(OwedBehindProxy { paths, upgrades })
    }

    fn when_disabled(parts: &mut request::Parts) -> OwedBehindProxy {
        let Nothing = ForwardedForLayer::when_disabled(parts);
        let Nothing = ProxyRemoteUserLayer::when_disabled(parts);
        let Nothing = ForcedHostLayer::when_disabled(parts);
        let paths = ScriptNamePrefixLayer::when_disabled(parts);
        OwedBehindProxy { paths, upgrades: ForceHttpsBodyLayer::when_disabled(parts) }
    }
}
