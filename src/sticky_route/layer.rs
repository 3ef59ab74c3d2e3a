use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::pool::Membership;
use super::reach::Through;
use super::service::StickyRoute;
use super::shared::Shared;
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
///     let response = Response::builder().header("asked-for", request.uri().to_string());
///     Ok(response.body(String::new()).expect("a URI fits in a header"))
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
/// assert_eq!(response.headers()["asked-for"], "http://10.0.0.1:8080/page");
///
/// members.insert(Member::new("http-2", UpstreamLayer::new(Target::parse("http://10.0.0.2:8080")?)))?;
/// members.remove("http-1")?;
/// let response = front_end.oneshot(get()?).await?;
/// assert_eq!(response.headers()["asked-for"], "http://10.0.0.2:8080/page");
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

impl<L, C> StickyRoute<L, Through<C>> {
    /// The client that the members share.
    pub fn get_ref(&self) -> &C {
        &self.reach.0
    }

    /// The client that the members share: this service's own clone of it.
    pub fn get_mut(&mut self) -> &mut C {
        &mut self.reach.0
    }

    /// The client that the members share, without the pool.
    pub fn into_inner(self) -> C {
        self.reach.0
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::task::{Context, Poll};

    use http::{Request, Response};
    use tower::{Service, ServiceExt};

    use super::*;
    use crate::front::Target;
    use crate::sticky_route::{Member, RequestBody, RouteCookie};

    /// Tells where requests go, and its own name.
    #[derive(Clone)]
    struct Client(&'static str);

    impl Service<Request<RequestBody<()>>> for Client {
        type Response = Response<String>;
        type Error = Infallible;
        type Future = Ready<Result<Response<String>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<RequestBody<()>>) -> Self::Future {
            let told = format!("{} {} {:?}", self.0, request.uri(), request.headers()["host"]);
            ready(Ok(Response::builder().header("told", told).body(String::new()).unwrap()))
        }
    }

    fn target(text: &str) -> UpstreamLayer {
        UpstreamLayer::new(Target::parse(text).unwrap())
    }

    #[tokio::test]
    async fn it_is_one_pool_however_often_it_is_applied() {
        let layer = StickyRoute::builder("shop")
            .member(Member::new("a", target("http://one").host_of_target()).max_in_flight(1))
            .member(Member::new("b", target("http://two")).weight(0).max_in_flight(1))
            .cookie(RouteCookie::plain())
            .into_layer()
            .unwrap();
        let (first, second) = (layer.layer(Client("first")), layer.clone().layer(Client("second")));
        let send = async |service: &StickyRoute<_, Through<Client>>, pin: &str| {
            let request = Request::builder().header("host", "shop.example").header("cookie", pin);
            service.clone().oneshot(request.body(()).unwrap()).await.unwrap()
        };
        let own = send(&first, "shop-route=a").await;
        assert_eq!(own.headers()["told"], r#"first http://one/ "one""#);
        let kept = send(&second, "shop-route=b").await;
        assert_eq!(kept.headers()["told"], r#"second http://two/ "shop.example""#);
        assert_eq!(
            send(&second, "shop-route=a").await.status(),
            503,
            "the first service has its one request"
        );
        let in_flight = |members: Membership<_>| {
            members.status().iter().map(|member| member.in_flight()).collect::<Vec<_>>()
        };
        assert_eq!(in_flight(layer.membership()), [1, 1]);
        drop((own, kept));
        assert_eq!(in_flight(second.membership()), [0, 0]);

        second.membership().insert(Member::new("c", target("http://three"))).unwrap();
        first.membership().remove("a").unwrap();
        assert_eq!(
            send(&first, "shop-route=a").await.headers()["told"],
            r#"first http://three/ "shop.example""#
        );
    }
}
