#[cfg(feature = "client")]
use std::any::Any;
use std::time::Duration;

use http::StatusCode;

use super::pool::Backoff;

/// What happens when a member fails.
///
/// Another member gets the request, if the body came home unread and
///
/// - the member was not ready, could not be reached, or did not get the request ([`Phase::Connect`],
///   [`Phase::NotSent`]): whatever the method;
/// - or the request was sent, no response came, and the method is idempotent (RFC 9110, section 9.2.2);
/// - never once a response began, but for the statuses of [`retry_on_status`](Self::retry_on_status).
///
/// A member that was not ready or could not be reached is ejected for a while.
#[derive(Clone, Debug)]
#[must_use]
pub struct Failover {
    pub(super) max_attempts: usize,
    pub(super) backoff: Backoff,
    retry_on: Vec<StatusCode>,
    eject_on: Vec<StatusCode>,
    pub(super) keeps_pin: bool,
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            max_attempts: 2,
            backoff: Backoff { first: Duration::from_secs(1), at_most: Duration::from_secs(60) },
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

    /// How long a member that failed is left alone; with each failure in a row twice as long, up to `at_most`.
    /// 1 second and 60 seconds unless said.
    pub fn eject_for(mut self, first: Duration, at_most: Duration) -> Self {
        self.backoff = Backoff { first, at_most };
        self
    }

    /// A response of this status goes to another member, if the request may. None unless said.
    pub fn retry_on_status<I: IntoIterator<Item = StatusCode>>(mut self, statuses: I) -> Self {
        self.retry_on.extend(statuses);
        self
    }

    /// A response of this status ejects the member; the client gets the response. None unless said.
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
