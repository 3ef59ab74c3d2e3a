use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::pace::Pace;

/// Runs from the moment when it is asked first.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    pub(super) fn stop(&mut self) {
        self.0 = None;
    }

    /// Ready when it is over. Without a limit it never is.
    pub(super) fn poll(&mut self, limit: Option<Duration>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = limit else { return Poll::Pending };
        self.0.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx)
    }

    /// Ready when the member kept silent for too long.
    pub(super) fn poll_silence(
        &mut self,
        limit: Option<Duration>,
        pace: Option<&Pace>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            ready!(self.poll(limit, cx));
            match pace.zip(limit).and_then(|(pace, limit)| pace.patience(limit)) {
                Some(left) => self.0 = Some(Box::pin(sleep(left))),
                None => return Poll::Ready(()),
            }
        }
    }
}
