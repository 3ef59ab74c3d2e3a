#[cfg(feature = "client")]
use std::any::Any;
use std::time::Duration;

use http::StatusCode;

use super::pool::{Backoff, Ejection, Floor};

/// What happens when a member fails.
///
/// Another member gets the request, if the body came home unread and
///
/// - the member was not ready, could not be reached, or did not get the request ([`Phase::Connect`],
///   [`Phase::NotSent`]): whatever the method;
/// - or the request was sent, no response came, and the method is idempotent (RFC 9110, section 9.2.2);
/// - never once a response began, but for the statuses of [`retry_on_status`](Self::retry_on_status).
///
/// # Ejection
///
/// A member is ejected, which means that it gets no request for a while, when it
///
/// - was not ready or could not be reached ([`Phase::Connect`]) [so many times](Self::eject_after) in a row, 3 unless said:
///   any response in between begins the count anew;
/// - or answered with a [status that ejects](Self::eject_on_status);
/// - or had too [small a share of successes](Self::eject_below) lately.
///
/// When its [time](Self::eject_for) is over, one request tries it, and all others pass it by until that one has an answer. A
/// response ends the ejection, and the member [warms up](super::Builder::slow_start); a failure ejects it for twice as
/// long. If the request is dropped before either, the next one tries. A request that hangs keeps the others away: give
/// the members' services a timeout.
///
/// Failures eject at most half of the members of the pool, whatever their roles and states, rounded down: 1 of 2 or of 3,
/// and never the only one. Who would be one too many stays, and is ejected at its next failure once another one is back.
/// [`State::Ejected`](super::State::Ejected) from the operator counts, and is not bounded. Where all members are ejected,
/// or those that are not are closed or full, requests go to the ejected ones.
///
/// What the operator says stands: no success opens a member that was disabled or stopped, and no failure ejects a stopped one.
#[derive(Clone, Debug)]
#[must_use]
pub struct Failover {
    pub(super) max_attempts: usize,
    pub(super) ejection: Ejection,
    retry_on: Vec<StatusCode>,
    eject_on: Vec<StatusCode>,
    pub(super) keeps_pin: bool,
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
    /// Failures are here those to connect, those after the request was sent ([`Phase::Sent`]), and responses of a
    /// [status that ejects](Self::eject_on_status); all other responses are successes. A request that the client gave up,
    /// or that the member [refused to take](Phase::NotSent), is neither.
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

    /// How long a member that failed is left alone; with each failure in a row twice as long, up to `at_most`.
    /// 1 second and 60 seconds unless said. Chance adds up to a tenth, so that front ends do not all try it at one
    /// moment; not where the operator ejects it.
    pub fn eject_for(mut self, first: Duration, at_most: Duration) -> Self {
        self.ejection.backoff = Backoff { first, at_most };
        self
    }

    /// A response of this status goes to another member, if the request may. None unless said.
    pub fn retry_on_status<I: IntoIterator<Item = StatusCode>>(mut self, statuses: I) -> Self {
        self.retry_on.extend(statuses);
        self
    }

    /// A response of this status ejects the member at once; the client gets the response. None unless said.
    pub fn eject_on_status<I: IntoIterator<Item = StatusCode>>(mut self, statuses: I) -> Self {
        self.eject_on.extend(statuses);
        self
    }

    /// The client stays pinned to the member that failed, and another one answers meanwhile. Otherwise the client is
    /// pinned to the one that answered.
    pub fn keep_pin(mut self) -> Self {
        self.keeps_pin = true;
        self
    }

    pub(super) fn retries(&self, status: StatusCode) -> bool {
        // A connection that speaks another protocol has no second try.
        status != StatusCode::SWITCHING_PROTOCOLS && self.retry_on.contains(&status)
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

/// How far a request had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The member could not be reached.
    Connect,
    /// The member was reached and did not take the request (HTTP/2: `REFUSED_STREAM`, or `GOAWAY` before it).
    NotSent,
    /// The member may have got some or all of it.
    Sent,
}

#[cfg(feature = "client")]
impl Phase {
    /// The phase of an error of hyper-util's legacy client, or of a boxed error with one among its sources: a classifier
    /// for [`Builder::classify`](super::Builder::classify).
    pub fn of_hyper_util(error: &dyn Any) -> Self {
        use hyper_util::client::legacy::Error;

        type Boxed = Box<dyn std::error::Error + Send + Sync>;

        if let Some(error) = error.downcast_ref::<Error>() {
            return if error.is_connect() { Self::Connect } else { Self::Sent };
        }
        let mut source =
            error.downcast_ref::<Boxed>().map(|error| -> &(dyn std::error::Error + 'static) { &**error });
        while let Some(error) = source {
            match error.downcast_ref::<Error>() {
                Some(error) if error.is_connect() => return Self::Connect,
                _ => source = error.source(),
            }
        }
        Self::Sent
    }
}
