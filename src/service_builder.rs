//! The layers of the application side as methods of tower's `ServiceBuilder`.

use tower::ServiceBuilder;
use tower_layer::Stack;

#[cfg(feature = "force-https-body")]
use crate::behind_proxy::BehindProxyLayer;
#[cfg(feature = "force-https-body")]
use crate::force_https_body::ForceHttpsBodyLayer;
use crate::forced_host::ForcedHostLayer;
use crate::forwarded_for::ForwardedForLayer;
use crate::proxy_remote_user::{ProxyRemoteUserLayer, RequireGroupLayer};
use crate::script_name_prefix::ScriptNamePrefixLayer;
use crate::trust::{PeerAddr, PeerAddrLayer};

macro_rules! methods {
    ($($(#[$attribute:meta])* $method:ident, $Layer:ident;)+) => {
        /// The layers of the application side as methods of [`ServiceBuilder`], the outermost first.
        ///
        /// Each does what `layer(..)` does, and takes nothing but its own layer. The right order is that of the
        /// methods here; [`behind_proxy`](Self::behind_proxy) cannot be in the wrong one.
        ///
        /// It needs the feature `tower`.
        ///
        /// # Example
        ///
        /// ```
        /// use http::{Request, Response};
        /// use tower::{ServiceBuilder, ServiceExt};
        /// use tower_proxied::{
        ///     ForcedHostLayer, ForwardedForLayer, PeerAddr, Proxied, ProxiedServiceBuilderExt, PublicUrl,
        ///     TrustedProxies,
        /// };
        ///
        /// # #[tokio::main(flavor = "current_thread")]
        /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// let service = ServiceBuilder::new()
        ///     .peer_addr("10.0.0.5:4711".parse::<std::net::SocketAddr>()?)
        ///     .forwarded_for(ForwardedForLayer::x_forwarded_for(TrustedProxies::parse(["10.0.0.0/8"])?))
        ///     .forced_host(ForcedHostLayer::fixed(PublicUrl::parse("https://www.example.org")?))
        ///     .service_fn(|request: Request<String>| async move {
        ///         let client = request.extensions().get::<Proxied>().and_then(Proxied::client);
        ///         let url = request.extensions().get::<PublicUrl>().expect("the layer puts it there");
        ///         Ok::<_, std::convert::Infallible>(Response::new(format!("{client:?} at {url}")))
        ///     });
        /// let request = Request::builder().header("x-forwarded-for", "192.0.2.7").body(String::new())?;
        /// # use http_body_util::BodyExt;
        /// let text = service.oneshot(request).await?.into_body().collect().await?.to_bytes();
        /// assert_eq!(text, "Some(192.0.2.7) at https://www.example.org");
        /// # Ok(())
        /// # }
        /// ```
        pub trait ProxiedServiceBuilderExt<L>: Into<ServiceBuilder<L>> {
            /// The peer of this connection, see [`PeerAddr::layer`]: for servers that do not say it themselves.
            fn peer_addr(self, peer: impl Into<PeerAddr>) -> ServiceBuilder<Stack<PeerAddrLayer, L>> {
                self.into().layer(PeerAddr::layer(peer))
            }

            $(
                $(#[$attribute])*
                fn $method(self, layer: $Layer) -> ServiceBuilder<Stack<$Layer, L>> {
                    self.into().layer(layer)
                }
            )+
        }
    };
}

methods! {
    /// All units in the one right order, see [`behind_proxy`](crate::behind_proxy).
    #[cfg(feature = "force-https-body")]
    behind_proxy, BehindProxyLayer;
    /// Who is the client? See [`forwarded_for`](crate::forwarded_for).
    forwarded_for, ForwardedForLayer;
    /// Who is logged in? See [`proxy_remote_user`](crate::proxy_remote_user).
    proxy_remote_user, ProxyRemoteUserLayer;
    /// Only users of some groups come in. See [`RequireGroupLayer`].
    require_group, RequireGroupLayer;
    /// Where does the application stand? See [`forced_host`](crate::forced_host).
    forced_host, ForcedHostLayer;
    /// Under which path is it mounted? See [`script_name_prefix`](crate::script_name_prefix).
    script_name_prefix, ScriptNamePrefixLayer;
    /// No mixed content on pages that came by https. See [`force_https_body`](crate::force_https_body).
    #[cfg(feature = "force-https-body")]
    force_https_body, ForceHttpsBodyLayer;
}

impl<L> ProxiedServiceBuilderExt<L> for ServiceBuilder<L> {}
