use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// Whose time runs while a member reads a body: the member's, or the client's. It is woken when the client sends more.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Reader>);

#[derive(Debug, Default)]
struct Reader {
    /// The member, where it asked for more than the client sent so far.
    awaits_client: Option<Waker>,
    /// When the member read something, or had something to read.
    fed_at: Option<Instant>,
}

impl Pace {
    /// One look at the body for the member.
    pub(super) fn poll<T>(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // Before the look: the client may send meanwhile.
        self.reader().awaits_client = Some(cx.waker().clone());
        let looked = poll(&mut Context::from_waker(&Waker::from(self.clone())));
        if looked.is_ready() {
            *self.reader() = Reader { awaits_client: None, fed_at: Some(Instant::now()) };
        }
        looked
    }

    pub(super) fn reads_no_more(&self) {
        self.reader().awaits_client = None;
    }

    /// How long the member may still keep silent, if it may for `timeout` after it could read something. The client's
    /// time is not the member's.
    pub(super) fn patience(&self, timeout: Duration) -> Option<Duration> {
        let reader = self.reader();
        let left = if reader.awaits_client.is_some() {
            timeout
        } else {
            timeout.checked_sub(reader.fed_at?.elapsed())?
        };
        (left > Duration::ZERO).then_some(left)
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Pace {
    fn wake(self: Arc<Self>) {
        let mut reader = self.reader();
        let awaits_client = reader.awaits_client.take();
        if awaits_client.is_some() {
            reader.fed_at = Some(Instant::now());
        }
        drop(reader);
        if let Some(waker) = awaits_client {
            waker.wake();
        }
    }
}
