use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::replay::LoggedBody;

/// Where the body of a request goes when the member drops it.
#[derive(Debug)]
pub(super) struct Home<B> {
    place: Arc<Mutex<Place<B>>>,
    /// Whether anybody asks when it was read.
    is_paced: bool,
}

/// A body that another member may read.
#[derive(Debug)]
pub(super) enum Returned<B> {
    Unread(B),
    Logged(LoggedBody<B>),
}

#[derive(Debug)]
struct Place<B> {
    body: Whereabouts<B>,
    awaited_by: Option<Waker>,
    read_at: Option<Instant>,
    /// The member asked for more than the client sent so far.
    awaits_client: bool,
}

#[derive(Debug)]
enum Whereabouts<B> {
    Out,
    Home(Returned<B>),
    /// It will not come.
    Lost,
}

impl<B> Home<B> {
    pub(super) fn new(is_paced: bool) -> Self {
        let place = Place { body: Whereabouts::Out, awaited_by: None, read_at: None, awaits_client: false };
        Self { place: Arc::new(Mutex::new(place)), is_paced }
    }

    /// `None`: it never will. What came once stays.
    pub(super) fn come(&self, body: Option<Returned<B>>) {
        let mut place = self.place();
        if matches!(place.body, Whereabouts::Out) {
            place.body = body.map_or(Whereabouts::Lost, Whereabouts::Home);
        }
        place.awaits_client = false;
        let awaited_by = place.awaited_by.take();
        drop(place);
        if let Some(waker) = awaited_by {
            waker.wake();
        }
    }

    /// The body, when it is there. `None`: it will not come.
    pub(super) fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Returned<B>>> {
        let mut place = self.place();
        match std::mem::replace(&mut place.body, Whereabouts::Lost) {
            Whereabouts::Home(body) => Poll::Ready(Some(body)),
            Whereabouts::Lost => Poll::Ready(None),
            Whereabouts::Out => {
                place.body = Whereabouts::Out;
                place.awaited_by = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn was_read(&self, awaits_client: bool) {
        if self.is_paced {
            let mut place = self.place();
            place.awaits_client = awaits_client;
            if !awaits_client {
                place.read_at = Some(Instant::now());
            }
        }
    }

    /// How long the member may still keep silent, if it may for `timeout` after it read something. The client's time is
    /// not the member's.
    pub(super) fn patience(&self, timeout: Duration) -> Option<Duration> {
        let place = self.place();
        let left =
            if place.awaits_client { timeout } else { timeout.checked_sub(place.read_at?.elapsed())? };
        (left > Duration::ZERO).then_some(left)
    }

    fn place(&self) -> MutexGuard<'_, Place<B>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Clone for Home<B> {
    fn clone(&self) -> Self {
        Self { place: self.place.clone(), is_paced: self.is_paced }
    }
}
