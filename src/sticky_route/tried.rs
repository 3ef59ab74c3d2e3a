use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pool::Route;

/// The members that had a request already: a request extension for a retry layer around the pool.
///
/// A retry layer outside of [`StickyRoute`](super::StickyRoute) sends the same cookie again, and so would meet the same
/// member again. With this extension, which all clones of the request share, the pool passes over the members that it
/// tried: the client gets another one, and is pinned to that. It is there for the first pool; members do not see it.
///
/// When every member that may have the request had it, the pool forgets them and starts anew: how often a request is
/// sent at all is for the retry layer to say. With a [`Stickiness`](super::Stickiness) other than `Soft` a pinned client
/// has one member alone, so that nothing is passed over.
///
/// # Example
///
/// ```
/// use http::{Request, Response};
/// use tower::retry::{Policy, RetryLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_proxied::sticky_route::{Decision, Member, RequestBody, RouteCookie, StickyRoute, TriedRoutes};
///
/// /// Once more, where the member failed.
/// #[derive(Clone)]
/// struct OnceMore(bool);
///
/// impl<R> Policy<Request<String>, R, std::io::Error> for OnceMore {
///     type Future = std::future::Ready<()>;
///
///     fn retry(
///         &mut self,
///         _: &mut Request<String>,
///         result: &mut Result<R, std::io::Error>,
///     ) -> Option<Self::Future> {
///         (result.is_err() && std::mem::take(&mut self.0)).then(|| std::future::ready(()))
///     }
///
///     fn clone_request(&mut self, request: &Request<String>) -> Option<Request<String>> {
///         Some(request.clone())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let member = |route: &'static str| {
///     let service = service_fn(move |_: Request<RequestBody<String>>| async move {
///         if route == "http-1" { Err(std::io::Error::other("reset")) } else { Ok(Response::new(String::new())) }
///     });
///     Member::new(route, service)
/// };
/// let sticky = StickyRoute::builder("shop")
///     .member(member("http-1"))
///     .member(member("http-2"))
///     .cookie(RouteCookie::plain())
///     .build()?;
/// let service = ServiceBuilder::new()
///     .map_request(|mut request: Request<String>| {
///         request.extensions_mut().insert(TriedRoutes::default());
///         request
///     })
///     .layer(RetryLayer::new(OnceMore(true)))
///     .service(sticky);
/// let post = Request::post("/").header("cookie", "shop-route=http-1").body("order".to_owned())?;
/// let response = service.oneshot(post).await?;
/// let decision = response.extensions().get::<Decision>().expect("each response has one");
/// assert_eq!(decision.to_string(), "route=http-2 outcome=repinned attempts=1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct TriedRoutes(Arc<Mutex<Vec<Route>>>);

impl TriedRoutes {
    /// The routes, the first one first.
    pub fn routes(&self) -> Vec<Route> {
        self.lock().clone()
    }

    pub(super) fn record(&self, route: &Route) {
        let mut routes = self.lock();
        if !routes.contains(route) {
            routes.push(route.clone());
        }
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Route>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of requests that went to those members by another way.
impl FromIterator<Route> for TriedRoutes {
    fn from_iter<I: IntoIterator<Item = Route>>(routes: I) -> Self {
        let tried = Self::default();
        routes.into_iter().for_each(|route| tried.record(&route));
        tried
    }
}
