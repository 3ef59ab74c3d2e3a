use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::state::MemberState;

/// Resolves when the member has no request, or when the time of the [drain](super::Membership::drain) is over. It wants a runtime of
/// tokio with time.
///
/// # Errors
///
/// The time is over, and requests are left. They run on.
///
/// # Caveat
///
/// Clients that are pinned to the member may come again until the time is over. Take it out of the pool, or set
/// [`State::Stopped`](super::State::Stopped), before its server is stopped.
pub struct Drained {
    future: Pin<Box<dyn Future<Output = Result<(), StillBusy>> + Send>>,
}

impl Drained {
    pub(super) fn new(route: &str, state: Arc<MemberState>, at_most: Duration) -> Self {
        let until = tokio::time::Instant::now().checked_add(at_most);
        let route = route.to_owned();
        let future = Box::pin(async move {
            let Some(until) = until else {
                state.idle().await;
                return Ok(());
            };
            let in_time = tokio::time::timeout_at(until, state.idle()).await;
            in_time.map_err(|_| StillBusy { route, in_flight: state.in_flight() })
        });
        Self { future }
    }
}

impl Future for Drained {
    type Output = Result<(), StillBusy>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl fmt::Debug for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drained").finish_non_exhaustive()
    }
}

/// The time of a drain is over, and requests are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillBusy {
    route: String,
    in_flight: usize,
}

impl StillBusy {
    /// How many were left.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }
}

impl fmt::Display for StillBusy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} still has {} requests", self.route, self.in_flight)
    }
}

impl std::error::Error for StillBusy {}
