use std::time::Duration;

use http::{HeaderName, StatusCode, request};

use super::pool::{Backoff, Ejection, Floor};
use super::retry_budget::Allowance;
use crate::wire::list::only_line;

/// What happens when a member fails.
///
/// Another member gets the request, a [successor](super::Member::successor) of the pinned one first, if its body came home and
///
/// - the member was not ready, not ready [in time](Self::acquire_timeout), could not be reached, or did not get the request
///   ([`Phase::Connect`](super::Phase::Connect), [`Phase::NotSent`](super::Phase::NotSent)): whatever the method;
/// - or the request was sent, no response came, [in time](Self::head_timeout) or at all, and the method is idempotent
///   (RFC 9110, section 9.2.2) or the client says that the request may come twice
///   ([`trust_idempotency_key`](Self::trust_idempotency_key)); and there is [`retry_budget`](Self::retry_budget) for it;
/// - never once a response began, but for the statuses of [`retry_on_status`](Self::retry_on_status), for which the same
///   holds.
///
/// A body comes home that no member read; one that was read comes with [`replay`](Self::replay). No member gets a request
/// twice.
///
/// # Ejection
///
/// A member is ejected, which means that it gets no request for a while, when it
///
/// - was not ready or could not be reached ([`Phase::Connect`](super::Phase::Connect)) [so many times](Self::eject_after) in a row, 3 unless said:
///   any response in between begins the count anew;
/// - or answered with a [status that ejects](Self::eject_on_status);
/// - or had too [small a share of successes](Self::eject_below) lately.
///
/// When its [time](Self::eject_for) is over, one request tries it, and all others pass it by until that one has an answer. A
/// response ends the ejection, and the member [warms up](super::Builder::slow_start); what ejects ejects it for twice as
/// long, be it the first failure to connect, or with [`eject_below`](Self::eject_below) the first after the request was
/// sent. If the request ends otherwise, the next one tries. One that hangs keeps the others away: set a
/// [`head_timeout`](Self::head_timeout). So does one whose client sends its body slowly.
///
/// Failures eject at most half of the members of the pool, whatever their roles and states, rounded down: 1 of 2 or of 3,
/// and never the only one. Who would be one too many stays, and is ejected at its next failure once another one is back.
/// [`State::Ejected`](super::State::Ejected) from the operator counts, and is not bounded. Where all members are ejected,
/// or those that are not are closed or full, requests go to the ejected ones.
///
/// What the operator says stands: no success opens a member that was disabled or stopped, and no failure ejects a stopped one.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{ServiceExt, service_fn};
/// use tower_proxied::sticky_route::{Decision, Failover, Member, RequestBody, RouteCookie, StickyRoute};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // http-1 reads all of it, and dies then.
/// let member = |route: &'static str| {
///     let service = service_fn(move |request: Request<RequestBody<String>>| async move {
///         let text = request.into_body().collect().await.expect("a String").to_bytes();
///         if route == "http-1" { Err(std::io::Error::other("reset")) } else { Ok(Response::new(Full::new(text))) }
///     });
///     Member::new(route, service)
/// };
/// let failover = Failover::default()
///     .replay(64 * 1024)
///     .retry_budget(20, 10)
///     .acquire_timeout(Duration::from_secs(1))
///     .head_timeout(Duration::from_secs(30));
/// let sticky = StickyRoute::builder("shop")
///     .member(member("http-1"))
///     .member(member("http-2"))
///     .cookie(RouteCookie::plain())
///     .failover(failover)
///     .build()?;
/// let put = Request::put("/").header("cookie", "shop-route=http-1").body("page".to_owned())?;
/// let response = sticky.oneshot(put).await?;
/// let decision = response.extensions().get::<Decision>().expect("each response has one");
/// assert_eq!(decision.to_string(), "route=http-2 outcome=repinned attempts=2");
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "page");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Failover {
    pub(super) max_attempts: usize,
    pub(super) ejection: Ejection,
    retry_on: Vec<StatusCode>,
    eject_on: Vec<StatusCode>,
    pub(super) keeps_pin: bool,
    pub(super) replay: Option<usize>,
    pub(super) trusts_idempotency_key: bool,
    pub(super) budget: Option<Allowance>,
    pub(super) acquire_timeout: Option<Duration>,
    pub(super) head_timeout: Option<Duration>,
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            max_attempts: 2,
            ejection: Ejection {
                after: 3,
                floor: None,
                half_window: 5000,
                backoff: Backoff { first: Duration::from_secs(1), at_most: Duration::from_secs(60) },
            },
            retry_on: Vec::new(),
            eject_on: Vec::new(),
            keeps_pin: false,
            replay: None,
            trusts_idempotency_key: false,
            budget: None,
            acquire_timeout: None,
            head_timeout: None,
        }
    }
}

impl Failover {
    /// To how many members a request goes at most, the first included. 2 unless said; 0 means 1.
    pub fn max_attempts(mut self, max_attempts: usize) -> Self {
        self.max_attempts = max_attempts;
        self
    }

    /// After how many failures to connect in a row a member is ejected. 3 unless said; 0 means 1.
    pub fn eject_after(mut self, failures: u8) -> Self {
        self.ejection.after = failures;
        self
    }

    /// Ejects a member of which less than so many percent of the results within the
    /// [window](Self::eject_window) are successes, where there are at least so many results. Off unless said; 50 and 20 are
    /// a good start.
    ///
    /// Failures are here those to connect, those after the request was sent ([`Phase::Sent`](super::Phase::Sent)), and responses of a
    /// [status that ejects](Self::eject_on_status); all other responses are successes. A request that the client gave up,
    /// or that the member [refused to take](super::Phase::NotSent), is neither.
    ///
    /// # Caveat
    ///
    /// Where the members' services fail when a client breaks off its request body, clients can make a member fail: up to
    /// half of the members, for as long as they go on.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use http::{Request, Response};
    /// use tower::{ServiceExt, service_fn};
    /// use tower_proxied::sticky_route::{Failover, Member, RequestBody, RouteCookie, State, StickyRoute};
    ///
    /// async fn serve(_: Request<RequestBody<String>>) -> Result<Response<String>, std::io::Error> {
    ///     Ok(Response::new("hello".to_owned()))
    /// }
    ///
    /// async fn reset(_: Request<RequestBody<String>>) -> Result<Response<String>, std::io::Error> {
    ///     Err(std::io::ErrorKind::ConnectionReset.into())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = StickyRoute::builder("shop")
    ///     .member(Member::new("a", tower::util::BoxCloneSyncService::new(service_fn(serve))))
    ///     .member(Member::new("b", tower::util::BoxCloneSyncService::new(service_fn(reset))))
    ///     .cookie(RouteCookie::plain())
    ///     .failover(Failover::default().eject_below(50, 20).eject_window(Duration::from_secs(30)))
    ///     .build()?;
    /// for _ in 0..20 {
    ///     assert_eq!(pool.membership().status()[1].state(), State::Ok);
    ///     let request = Request::builder().header("cookie", "shop-route=b").body(String::new())?;
    ///     let _ = pool.clone().oneshot(request).await;
    /// }
    /// assert_eq!(pool.membership().status()[1].state(), State::Ejected);
    /// # Ok(())
    /// # }
    /// ```
    pub fn eject_below(mut self, percent: u8, at_least: u32) -> Self {
        self.ejection.floor = Some(Floor { percent, at_least });
        self
    }

    /// How long results count for [`eject_below`](Self::eject_below): each at least half of this time and at most all of
    /// it. 10 seconds unless said.
    pub fn eject_window(mut self, window: Duration) -> Self {
        self.ejection.half_window = u64::try_from(window.as_millis() / 2).unwrap_or(u64::MAX).max(1);
        self
    }

    /// Logs what a member reads of a body, trailers too, up to so many bytes, so that the next member gets the same bytes,
    /// and then the rest from the client. Of a body that is longer, or was read in more than 1024 frames, or failed,
    /// nothing is logged any more, and the request stays with its member. Not at all unless said.
    ///
    /// Data are not copied, but what they were read into stays in memory meanwhile. Only data that are
    /// [`Bytes`](bytes::Bytes) are logged: those of hyper, axum and tonic are. Where a member is done before whoever reads
    /// the body for it lets go, as a task of hyper, the next member waits for that, up to a second; that takes tokio's timer.
    pub fn replay(mut self, at_most: usize) -> Self {
        self.replay = Some(at_most);
        self
    }

    /// A request with an `Idempotency-Key`, and no more than one, may be sent twice, whatever its method (IETF draft
    /// idempotency-key-header): say so where the application heeds the key. Otherwise it would do things twice.
    pub fn trust_idempotency_key(mut self) -> Self {
        self.trusts_idempotency_key = true;
        self
    }

    /// How many requests may go to another member after they were sent: `percent` of the pool's requests, and `per_second`
    /// more. What is not used is kept, up to ten seconds of `per_second`, or ten where that is more. Beyond it the failure
    /// is handed on, so that members that are overloaded do not get each request twice. No bound unless said.
    ///
    /// Requests that were never sent are not counted: a move costs no member anything, and where a member is gone none is
    /// to be lost.
    pub fn retry_budget(mut self, percent: u32, per_second: u32) -> Self {
        self.budget = Some(Allowance { percent, per_second });
        self
    }

    /// How long a member may take to become ready; then another one gets the request. Where there is none, 503 with
    /// `Retry-After` ([`RefusalKind::NoMember`](crate::RefusalKind)). The member is not ejected: it is busy rather than
    /// dead. No bound unless said. It takes tokio's timer where a member is not ready at once.
    pub fn acquire_timeout(mut self, at_most: Duration) -> Self {
        self.acquire_timeout = Some(at_most);
        self
    }

    /// How long a member may keep silent, from its call or the last it could read of the body, until the head of its response.
    /// Then it is called off, and another one gets the request, if it may; else 504
    /// ([`RefusalKind::MemberTimedOut`](crate::RefusalKind)). While the member waits for the client to send more, time
    /// does not count. No bound unless said. It takes tokio's timer.
    ///
    /// Long polling needs a longer one. What comes after the head is not bounded.
    pub fn head_timeout(mut self, at_most: Duration) -> Self {
        self.head_timeout = Some(at_most);
        self
    }

    /// How long a member that failed is left alone; with each failure in a row twice as long, up to `at_most`.
    /// 1 second and 60 seconds unless said. Chance adds up to a tenth, so that front ends do not all try it at one
    /// moment; not where the operator ejects it.
    pub fn eject_for(mut self, first: Duration, at_most: Duration) -> Self {
        self.ejection.backoff = Backoff { first, at_most };
        self
    }

    /// A response of this status goes to another member, if the request may be sent twice. None unless said.
    ///
    /// 1xx is nothing that could be taken back, and 425 is for the client (RFC 8470, section 5.2): they are passed on
    /// although they stand here.
    pub fn retry_on_status<I: IntoIterator<Item = StatusCode>>(mut self, statuses: I) -> Self {
        let is_final = |status: &StatusCode| !status.is_informational() && *status != StatusCode::TOO_EARLY;
        self.retry_on.extend(statuses.into_iter().filter(is_final));
        self
    }

    /// A response of this status ejects the member at once; the client gets the response. None unless said.
    pub fn eject_on_status<I: IntoIterator<Item = StatusCode>>(mut self, statuses: I) -> Self {
        self.eject_on.extend(statuses);
        self
    }

    /// The client stays pinned to the member that failed, and another one answers meanwhile; unless that member was given
    /// up: taken out, [`State::Stopped`](super::State::Stopped), or at the end of its drain. Otherwise the client is pinned
    /// to the one that answered.
    pub fn keep_pin(mut self) -> Self {
        self.keeps_pin = true;
        self
    }

    /// Whether two members may get the request.
    pub(super) fn may_repeat(&self, parts: &request::Parts) -> bool {
        let has_key =
            || matches!(only_line(&parts.headers, &IDEMPOTENCY_KEY), Ok(Some(key)) if !key.is_empty());
        parts.method.is_idempotent() || (self.trusts_idempotency_key && has_key())
    }

    pub(super) fn retries(&self, status: StatusCode) -> bool {
        self.retry_on.contains(&status)
    }

    pub(super) fn ejects(&self, status: StatusCode) -> bool {
        self.eject_on.contains(&status)
    }

    /// Nobody is pinned to a member that answers so at first: it may be about to go.
    pub(super) fn is_failure(&self, status: StatusCode) -> bool {
        matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        ) || self.retries(status)
            || self.ejects(status)
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
