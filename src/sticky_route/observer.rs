use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::Decision;
use super::phase::Phase;
use super::pool::{Route, State};
use super::shared::Shared;

/// Is told what becomes of requests and members, for metrics: [`Builder::observer`](super::Builder::observer).
///
/// It gets typed values: no text, no token, no cookie. Each method does nothing unless written.
///
/// It is called where the thing happens, by the thread that serves the request or changes the pool, and while no lock is
/// held: count, and do not wait. A panic in it is caught and costs the request nothing (but ends the process where panics
/// abort). From several threads the calls come in any order: two of one member may come the other way round than they
/// happened, so that [`Membership::status`](super::Membership::status) is what tells the state.
///
/// # Example
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use http::{Request, Response};
/// use tower::{ServiceExt, service_fn};
/// use tower_proxied::sticky_route::{Ended, Member, Observer, Outcome, RequestBody, RouteCookie, StickyRoute};
///
/// #[derive(Default)]
/// struct Hits(AtomicUsize);
///
/// impl Observer for Hits {
///     fn request_ended(&self, ended: &Ended<'_>) {
///         if ended.decision().outcome() == Outcome::Hit {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// async fn hello(_: Request<RequestBody<String>>) -> Result<Response<String>, std::io::Error> {
///     Ok(Response::new("hello".to_owned()))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hits = Arc::new(Hits::default());
/// let sticky = StickyRoute::builder("shop")
///     .member(Member::new("http-1", service_fn(hello)))
///     .cookie(RouteCookie::plain())
///     .observer(hits.clone())
///     .build()?;
/// for cookie in ["shop-route=http-1", "theme=dark"] {
///     let request = Request::builder().header("cookie", cookie).body(String::new())?;
///     sticky.clone().oneshot(request).await?;
/// }
/// assert_eq!(hits.0.load(Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// A request has left the pool. Called exactly once for each request, those that were cancelled included: when the
    /// head of the response is there, or there will be none. The body may run on.
    fn request_ended(&self, ended: &Ended<'_>) {
        let _ = ended;
    }

    /// A member failed a request, which is its `attempt`-th: 1 is the first. Another one may get it.
    fn member_failed(&self, route: &Route, attempt: usize, failure: Failure) {
        let _ = (route, attempt, failure);
    }

    /// Something of a member changed, be it by requests or by the operator. What
    /// [`Builder::member`](super::Builder::member) gave is there from the start, and not told; nor is
    /// time that passes, such as the end of a drain.
    fn member_changed(&self, route: &Route, change: Change) {
        let _ = (route, change);
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn request_ended(&self, ended: &Ended<'_>) {
        O::request_ended(self, ended);
    }

    fn member_failed(&self, route: &Route, attempt: usize, failure: Failure) {
        O::member_failed(self, route, attempt, failure);
    }

    fn member_changed(&self, route: &Route, change: Change) {
        O::member_changed(self, route, change);
    }
}

/// How a request left the pool.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    decision: &'a Decision,
    end: End,
    took: Duration,
}

impl Ended<'_> {
    /// The same as in the response's extensions. Where no member answered it names the one that had the request last; and
    /// where the client has a pin, the outcome is [`Hit`](super::Outcome::Hit) or
    /// [`HitReissue`](super::Outcome::HitReissue) if that was its member, [`Detour`](super::Outcome::Detour) if not.
    pub fn decision(&self) -> &Decision {
        self.decision
    }

    /// Why it left.
    pub fn end(&self) -> End {
        self.end
    }

    /// From the call to the head of the response, by the pool's [clock](super::Builder::clock); all attempts are in it.
    pub fn took(&self) -> Duration {
        self.took
    }
}

/// Why a request left the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// A member answered, with this status.
    Answered(StatusCode),
    /// No member was to have it: the pool answered 503.
    Refused,
    /// The error of the last member was handed on.
    Failed,
    /// The last member did not answer in time: the pool answered 504.
    TimedOut,
    /// The response future was dropped first: the client went, or an outer timeout struck.
    Cancelled,
}

/// How a member failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// It was not ready, or gave an error: how far the request had come.
    Error(Phase),
    /// It was not ready within [`Failover::acquire_timeout`](super::Failover::acquire_timeout).
    NotReadyInTime,
    /// It gave no head of a response within [`Failover::head_timeout`](super::Failover::head_timeout).
    NoAnswerInTime,
    /// It answered, with a status of [`Failover::retry_on_status`](super::Failover::retry_on_status) or
    /// [`eject_on_status`](super::Failover::eject_on_status).
    Status(StatusCode),
}

/// What changed of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// A request found that it fails: it is left alone for a while.
    Ejected,
    /// A request that tried it was answered: its ejection is over.
    Recovered,
    /// The operator set its state.
    Set(State),
    /// It was added, or its service replaced.
    Inserted,
    /// It was taken out.
    Removed,
}

/// What a pool tells of itself.
pub(super) struct Reporter {
    #[cfg(feature = "tracing")]
    pub(super) pool: Box<str>,
    pub(super) observer: Option<Arc<dyn Observer>>,
}

impl Reporter {
    pub(super) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    pub(super) fn member_failed(&self, route: &Route, attempt: usize, failure: Failure) {
        #[cfg(feature = "tracing")]
        tracing::debug!(target: TARGET, pool = &*self.pool, %route, attempts = attempt, ?failure, "a member failed");
        self.tell(|observer| observer.member_failed(route, attempt, failure));
    }

    pub(super) fn member_changed(&self, route: &Route, change: Change) {
        #[cfg(feature = "tracing")]
        match change {
            Change::Ejected => {
                tracing::warn!(target: TARGET, pool = &*self.pool, %route, "a member is ejected");
            }
            Change::Recovered => {
                tracing::info!(target: TARGET, pool = &*self.pool, %route, "a member is back");
            }
            Change::Set(state) => {
                tracing::info!(target: TARGET, pool = &*self.pool, %route, %state, "the state of a member is set");
            }
            Change::Inserted => {
                tracing::info!(target: TARGET, pool = &*self.pool, %route, "a member is inserted");
            }
            Change::Removed => {
                tracing::info!(target: TARGET, pool = &*self.pool, %route, "a member is removed");
            }
        }
        self.tell(|observer| observer.member_changed(route, change));
    }

    /// Anybody can bring refusals about, with a cookie that names no member: no louder than `debug`.
    #[cfg(feature = "tracing")]
    pub(super) fn refused(&self, outcome: super::Outcome) {
        tracing::debug!(
            target: TARGET,
            pool = &*self.pool,
            route = %"-",
            %outcome,
            attempts = 0_usize,
            "no member gets a request"
        );
    }

    fn tell(&self, what: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.observer {
            // What it leaves behind is its own affair: nothing here is shared with it but `&self`.
            let _ = catch_unwind(AssertUnwindSafe(|| what(&**observer)));
        }
    }
}

#[cfg(feature = "tracing")]
const TARGET: &str = "tower_proxied::sticky_route";

/// What will be told of a request. It is told when this is dropped, so that it is told once, whatever becomes of the
/// request.
pub(super) struct Report<M> {
    shared: Arc<Shared<M>>,
    since: Instant,
    pub(super) decision: Decision,
    end: End,
}

impl<M> Report<M> {
    pub(super) fn new(shared: &Arc<Shared<M>>, since: Instant, decision: Decision) -> Self {
        Self { shared: shared.clone(), since, decision, end: End::Cancelled }
    }

    pub(super) fn close(mut self, end: End) {
        self.end = end;
    }
}

impl<M> Drop for Report<M> {
    fn drop(&mut self) {
        let took = self.shared.clock.instant().saturating_duration_since(self.since);
        let ended = Ended { decision: &self.decision, end: self.end, took };
        self.shared.reporter.tell(|observer| observer.request_ended(&ended));
    }
}
