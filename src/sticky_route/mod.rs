//! Balances requests over application servers, and keeps each client with the one that has its session.
//!
//! [`StickyRoute`] is a service over a pool of [`Member`]s. Which member a client belongs to stands in a cookie
//! ([`RouteCookie`]), so that several front ends agree without talking, and a restart forgets nothing.
//! [`RouteSuffixLayer`] is for the other side: it lets an application work behind `stickysession=` of Apache httpd.
//!
//! # What it decides, in order
//!
//! 1. The cookie is looked up in all `Cookie` lines, by the byte (RFC 6265, section 4.2.1); or [a
//!    header](RouteCookie::in_header) is, or [a parameter of the URL](RouteCookie::or_url_parameter) too. Of several of its
//!    name the first that names a member which takes the request counts; one that is [too old](RouteCookie::max_idle) names
//!    none. It only ever selects from the pool: it is no address.
//! 2. The pin is taken out of the request: all cookies of its own, or the suffix that names a member.
//! 3. The pinned member gets the request, if it is [`State::Ok`] or [`State::Drain`], or was ejected long enough ago; then
//!    this request alone tries it.
//! 4. Else its [successor](Member::successor) gets it; without one the client gets another member, or is refused, as
//!    [`Stickiness`] says.
//! 5. Clients without a pin get a member by [`Balance`]: of the lowest [tier](Member::tier) that has one, an active one that
//!    is [`State::Ok`], of any weight, and not [full](Member::max_in_flight); spares in place of those that take nothing;
//!    standby members where there is neither. Where all are ejected one is tried anyway, of a pinned client its own.
//! 6. No member: 503 with `Retry-After`, no body, and no cookie ([`RefusalKind::NoMember`](crate::RefusalKind)).
//! 7. A clone of the member is driven to readiness and called, with what is decided so far, a [`Decision`], in the
//!    request's extensions. If it fails, or is late, another one gets the request where [`Failover`] allows it, the pinned one's
//!    successor first: at most two in all, unless said, and none twice. What was never sent may always move; what was sent only where it may come twice,
//!    and its body is there: unread, or logged with [`Failover::replay`]. Members that an outer retry met already
//!    ([`TriedRoutes`]) are passed over.
//! 8. A cookie of its own names exactly the member that answered. It is set where the client has none, or another one;
//!    on a hit only to renew its dates, and not with a 502, 503 or 504 of the member or the refusal of a layer around it.
//!    With it goes `Cache-Control: private`, in `CDN-Cache-Control` and its like (RFC 9213) too where the member sets one.
//! 9. A member's `Set-Cookie` of that name is taken out. `Secure` follows [`Proxied::is_secure`](crate::Proxied).
//! 10. The response's extensions get the [`Decision`], and [`Builder::observer`] is told.
//!
//! The error type is the member's own: what no other member could mend is handed on. A member that does not answer within
//! [`Failover::head_timeout`] is answered for with 504 ([`RefusalKind::MemberTimedOut`](crate::RefusalKind)).
//!
//! # Cost
//!
//! A pinned request costs one look into a map, whatever the number of members, and takes no lock (but for
//! [`Balance::ByRequests`]). It takes nothing from the heap but for the lines of `Cookie` that lose the pin, and for a
//! [`Decision`] in the extensions of the request and of the response: one allocation each, and two more where they were
//! empty. A new session costs the same in a pool of any size with [`Balance::PowerOfTwo`], while most of its members take
//! some; else it costs one look at each member. A change of members builds all maps anew. Tokens are made when a member is
//! added; [dates](RouteCookie::max_idle) cost one HMAC more for each request, and two where they are renewed. A request's
//! head is cloned where a second member could get it: keep what stands in the extensions cheap to clone. Nothing of a body
//! is buffered but with [`Failover::replay`]: then one allocation for each body that is read, and its log. A timeout is one
//! allocation where a member is not done at once; [`Failover::head_timeout`] is two more for each request, and two locks for
//! each frame of its body. The budget is one atomic word.
//!
//! # Metrics and logs
//!
//! [`Builder::observer`] is told of each request, of each failure of a member, and of each change of one. With the feature
//! `tracing` there are events of the target `tower_proxied::sticky_route`, with the fields `pool` and `route`, and
//! `outcome` and `attempts` where they apply:
//!
//! - `WARN`: a member is ejected;
//! - `INFO`: it is back; or the operator set its state, inserted or removed it;
//! - `DEBUG`: a member failed a request, or no member gets one, which anybody can bring about.
//!
//! Neither holds a cookie or a token.
//!
//! # Deployment caveats
//!
//! Only [`RouteCookie::opaque`] keeps clients from choosing their member. Give each pool its own name. An outer retry layer
//! sends the same cookie to the same member again: leave retries to [`Failover`], or give the request [`TriedRoutes`], where
//! the recipe for tower's `Retry` stands. Without a [classifier](Builder::classify) no failed connect is known as one:
//! [`Phase::of_hyper_util`](Phase#method.of_hyper_util) is the one for hyper-util's client (feature `client`, and
//! `client-http2` for HTTP/2), [`Phase::of_tonic`](Phase#method.of_tonic) the one for tonic's Channel (feature `tonic`). A
//! member that is never ready, or accepts and never answers, holds its requests for ever: give
//! [`Failover::acquire_timeout`] and [`Failover::head_timeout`]. Operators change members with [`Membership`], or in the
//! browser with [`StickyAdmin`] (feature `admin`). An upgraded connection (101) counts as in flight for as long as its
//! [`InFlightUpgrade`] is kept.
//!
//! # Example
//!
//! ```
//! use http::{Request, Response};
//! use tower::{ServiceExt, service_fn};
//! use tower_proxied::sticky_route::{Decision, Member, Outcome, RequestBody, RouteCookie, StickyRoute};
//!
//! async fn serve(route: &'static str, request: Request<RequestBody<String>>) -> Result<Response<String>, std::io::Error> {
//!     assert!(!request.headers().contains_key("cookie"), "the pin is not for the application");
//!     Ok(Response::new(route.to_owned()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // From a secret store, the same for all front ends.
//! let key = [42; 32];
//! let sticky = StickyRoute::builder("django")
//!     .member(Member::new("http-1", service_fn(move |request| serve("http-1", request))))
//!     .cookie(RouteCookie::opaque([key]))
//!     .build()?;
//!
//! let first = sticky.clone().oneshot(Request::new(String::new())).await?;
//! let line = first.headers()["set-cookie"].to_str()?;
//! assert!(line.starts_with("django-route=") && line.ends_with("; Path=/; HttpOnly; SameSite=Lax"));
//! assert_eq!(first.headers()["cache-control"], "private");
//!
//! let cookie = line.split(';').next().unwrap_or_default();
//! let second = sticky.oneshot(Request::builder().header("cookie", cookie).body(String::new())?).await?;
//! assert!(!second.headers().contains_key("set-cookie"));
//! let decision = second.extensions().get::<Decision>().expect("each response has one");
//! assert_eq!(decision.outcome(), Outcome::Hit);
//! assert_eq!(decision.route().map(|route| route.as_str()), Some("http-1"));
//! # Ok(())
//! # }
//! ```
//!
//! # A whole front end
//!
//! Two members, each of them [`Upstream`](crate::front::Upstream) over one client of hyper-util, as a layer
//! ([`Builder::into_layer`]), and a stack for each connection, since the peer's address is the connection's (feature `client` for
//! [`Phase::of_hyper_util`](Phase#method.of_hyper_util)). Where the front end speaks TLS, give
//! [`SetForwardedLayer::listener_scheme`](crate::front::SetForwardedLayer::listener_scheme), and
//! [`Secure::Always`] to the cookie.
//!
//! ```
//! use http::Request;
//! use http_body_util::{BodyExt, Empty};
//! use hyper::body::Incoming;
//! use hyper_util::client::legacy::Client;
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::server::conn::auto;
//! use hyper_util::service::TowerToHyperService;
//! use tokio::net::TcpListener;
//! use tower::ServiceBuilder;
//! use tower_proxied::front::SetForwardedLayer;
//! use tower_proxied::sticky_route::{Phase, RequestBody, RouteCookie, StickyRoute};
//! use tower_proxied::{ErrorsTo502Layer, PeerAddr};
//!
//! /// An application server that tells its route, and for whom it answers.
//! async fn application(route: &'static str) -> Result<String, Box<dyn std::error::Error>> {
//!     let answer = move |headers: http::HeaderMap| async move {
//!         assert!(!headers.contains_key("cookie"), "the pin is not for the application");
//!         format!("{route} for {:?}", headers["x-forwarded-for"])
//!     };
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let target = format!("http://{}", listener.local_addr()?);
//!     let router = axum::Router::new().fallback(answer);
//!     tokio::spawn(async move { axum::serve(listener, router).await });
//!     Ok(target)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::time::timeout(std::time::Duration::from_secs(20), async {
//! let client = Client::builder(TokioExecutor::new()).build_http::<RequestBody<Incoming>>();
//! let balanced = StickyRoute::builder("shop")
//!     .upstream("http-1", &application("http-1").await?)
//!     .upstream("http-2", &application("http-2").await?)
//!     // From a secret store, the same for all front ends.
//!     .cookie(RouteCookie::opaque([[42; 32]]))
//!     .classify(Phase::of_hyper_util)
//!     .into_layer()?;
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let front_end = format!("http://{}/", listener.local_addr()?);
//! tokio::spawn(async move {
//!     while let Ok((stream, peer)) = listener.accept().await {
//!         let stack = ServiceBuilder::new()
//!             .layer(PeerAddr::layer(peer))
//!             .layer(SetForwardedLayer::edge())
//!             .layer(ErrorsTo502Layer::new())
//!             .layer(balanced.clone())
//!             .service(client.clone());
//!         tokio::spawn(async move {
//!             auto::Builder::new(TokioExecutor::new())
//!                 .serve_connection(TokioIo::new(stream), TowerToHyperService::new(stack))
//!                 .await
//!         });
//!     }
//! });
//!
//! let browser = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
//! let first = browser.request(Request::get(&front_end).body(Empty::new())?).await?;
//! assert_eq!(first.status(), 200);
//! let line = first.headers()["set-cookie"].to_str()?.to_owned();
//! let cookie = line.split(';').next().unwrap_or_default();
//! assert!(cookie.starts_with("shop-route="));
//! let answer = first.into_body().collect().await?.to_bytes();
//! assert!(answer.starts_with(b"http-") && answer.ends_with(br#" for "127.0.0.1""#));
//!
//! for _ in 0..4 {
//!     let request = Request::get(&front_end).header("cookie", cookie).body(Empty::new())?;
//!     let next = browser.request(request).await?;
//!     assert!(!next.headers().contains_key("set-cookie"));
//!     assert_eq!(next.into_body().collect().await?.to_bytes(), answer, "the same member");
//! }
//! # Ok(())
//! # }).await?
//! # }
//! ```

#[cfg(feature = "admin")]
mod admin;
mod attributes;
mod body;
mod builder;
mod cookie;
mod exchange;
mod failover;
mod future;
mod home;
mod layer;
mod observer;
mod pace;
mod phase;
mod pool;
mod reach;
mod replay;
mod retry_budget;
mod route_cookie;
mod route_suffix;
mod service;
mod shared;
mod timer;
mod token;
mod tried;
mod unanswered;

use std::fmt;

#[cfg(feature = "admin")]
pub use self::admin::{AdminAction, AdminChange, AdminFuture, Operator, StickyAdmin};
pub use self::attributes::{SameSite, Secure};
pub use self::body::{InFlight, InFlightUpgrade, RequestBody};
use self::builder::Problem;
pub use self::builder::{BuildError, Builder, Stickiness};
pub use self::failover::Failover;
pub use self::future::ResponseFuture;
pub use self::layer::StickyRouteLayer;
pub use self::observer::{Change, End, Ended, Failure, Observer};
pub use self::phase::Phase;
#[cfg(feature = "tower")]
pub use self::pool::DriveError;
pub use self::pool::{
    Balance, Drained, Member, MemberStatus, Membership, Role, Route, State, StillBusy, UnknownRoute, Watch,
};
pub use self::reach::{Direct, Reach, Through};
pub use self::route_cookie::RouteCookie;
pub use self::route_suffix::{RouteSuffix, RouteSuffixLayer};
pub use self::service::StickyRoute;
pub use self::tried::TriedRoutes;
pub use self::unanswered::{DecidedErrors, DecidedFuture, Unanswered};

/// What became of a request, in the extensions of the response: for logs, and for outer layers. An error of a member has
/// none, but for [`Unanswered`]; the 502 of [`StickyRoute::errors_to_502`] has.
///
/// A member finds one in the extensions of the request, with what is decided so far: itself, and which attempt it is. In
/// the place of a pinned member it reads [`Outcome::Detour`]: whether that is [`Outcome::Repinned`] is for its answer to
/// say.
///
/// Its text is `route=http-1 outcome=hit attempts=1`, with `route=-` where there is no member. It holds no token of a
/// cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    route: Option<Route>,
    outcome: Outcome,
    attempts: usize,
}

impl Decision {
    /// The member that answered; where the last one failed, that one. `None` where the pool refused the request.
    pub fn route(&self) -> Option<&Route> {
        self.route.as_ref()
    }

    /// What became of the pin.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// How many members got the request, or were to get it. What outer layers sent before is not counted.
    pub fn attempts(&self) -> usize {
        self.attempts
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = self.route.as_ref().map_or("-", Route::as_str);
        write!(f, "route={route} outcome={} attempts={}", self.outcome, self.attempts)
    }
}

/// What became of the pin of a request. Its text is the name in lower case, with hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// No cookie: a new client.
    New,
    /// The member that the cookie names answered.
    Hit,
    /// The same; and the cookie was one from before, so that the client got a new one.
    HitReissue,
    /// The cookie names no member.
    Unknown,
    /// The cookie is older than [`RouteCookie::max_idle`] or [`RouteCookie::max_life`] has it: as a new client.
    Expired,
    /// The member that the cookie names takes nothing, and no other answered in its place.
    Unusable,
    /// Another member answered, and the client is pinned to it now.
    Repinned,
    /// Another member answered; the client stays pinned to its own.
    Detour,
    /// No cookie of the application.
    Absent,
    /// The cookie of the application names no member.
    NoRoute,
    /// A path for which the cookie is not meant.
    OutOfScope,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::New => "new",
            Self::Hit => "hit",
            Self::HitReissue => "hit-reissue",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Unusable => "unusable",
            Self::Repinned => "repinned",
            Self::Detour => "detour",
            Self::Absent => "absent",
            Self::NoRoute => "no-route",
            Self::OutOfScope => "out-of-scope",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_read_in_a_log() {
        let route = Some(Route::parse("http-1").unwrap());
        let hit = Decision { route, outcome: Outcome::HitReissue, attempts: 2 };
        assert_eq!(hit.to_string(), "route=http-1 outcome=hit-reissue attempts=2");
        let refused = Decision { route: None, outcome: Outcome::New, attempts: 0 };
        assert_eq!(refused.to_string(), "route=- outcome=new attempts=0");
    }
}
