use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::pool::Membership;
use super::reach::Through;
use super::service::{Shared, StickyRoute};
use crate::front::UpstreamLayer;

/// A [`StickyRoute`] whose members stand over one service, the HTTP client that they share:
/// [`Builder::into_layer`](super::Builder::into_layer).
///
/// Each member is a layer, [`UpstreamLayer`] as a rule, that goes around a clone of the client for each request.
///
/// It is **one pool**, however often it is applied and cloned: a stack for each connection does not start anew. All those
/// services count requests together, see the same ejections, and have the same [`membership`](Self::membership).
///
/// # Cost
///
/// A request clones the client once more than without the layer, and the member's layer is an `Arc`.
///
/// # Example
///
/// ```
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_proxied::front::{Target, UpstreamLayer};
/// use tower_proxied::sticky_route::{Member, RequestBody, Role, RouteCookie, StickyRoute};
///
/// // Stands for an HTTP client.
/// async fn client(request: Request<RequestBody<String>>) -> Result<Response<String>, std::io::Error> {
///     Ok(Response::new(request.uri().to_string()))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sorry = UpstreamLayer::new(Target::parse("http://10.0.0.9:8080")?).host_of_target();
/// let balanced = StickyRoute::builder("shop")
///     .upstream("http-1", "http://10.0.0.1:8080")
///     .member(Member::new("sorry", sorry).role(Role::Standby))
///     .cookie(RouteCookie::plain())
///     .into_layer()?;
/// let members = balanced.membership();
/// let front_end = ServiceBuilder::new().layer(balanced).service(service_fn(client));
///
/// let get = || Request::get("/page").header("host", "shop.example").body(String::new());
/// let response = front_end.clone().oneshot(get()?).await?;
/// # use http_body_util::BodyExt;
/// # let text = async |body: tower_proxied::sticky_route::InFlight<tower_proxied::body::ResponseBody<String>>| {
/// #     body.map_frame(|frame| frame.map_data(bytes::Bytes::from)).collect().await.map(|all| all.to_bytes())
/// # };
/// assert_eq!(text(response.into_body()).await.unwrap(), "http://10.0.0.1:8080/page");
///
/// members.insert(Member::new("http-2", UpstreamLayer::new(Target::parse("http://10.0.0.2:8080")?)))?;
/// members.remove("http-1")?;
/// let response = front_end.oneshot(get()?).await?;
/// assert_eq!(text(response.into_body()).await.unwrap(), "http://10.0.0.2:8080/page");
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct StickyRouteLayer<L = UpstreamLayer> {
    shared: Arc<Shared<L>>,
}

impl<L> StickyRouteLayer<L> {
    pub(super) fn new(shared: Shared<L>) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// The handle that changes the members.
    pub fn membership(&self) -> Membership<L> {
        Membership::new(self.shared.clone())
    }
}

impl<L, C> Layer<C> for StickyRouteLayer<L> {
    type Service = StickyRoute<L, Through<C>>;

    fn layer(&self, client: C) -> Self::Service {
        StickyRoute { shared: self.shared.clone(), reach: Through(client) }
    }
}

impl<L> Clone for StickyRouteLayer<L> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<L> fmt::Debug for StickyRouteLayer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyRouteLayer").field("members", &self.membership()).finish_non_exhaustive()
    }
}
