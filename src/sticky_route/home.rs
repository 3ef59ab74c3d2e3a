use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::pace::Pace;
use super::replay::LoggedBody;

/// Where the body of a request goes when the member drops it.
#[derive(Debug)]
pub(super) struct Home<B> {
    place: Arc<Mutex<Place<B>>>,
    /// Where somebody asks when it was read.
    pub(super) pace: Option<Arc<Pace>>,
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
        let place = Place { body: Whereabouts::Out, awaited_by: None };
        Self { place: Arc::new(Mutex::new(place)), pace: is_paced.then(Arc::default) }
    }

    /// `None`: it never will. What came once stays.
    pub(super) fn come(&self, body: Option<Returned<B>>) {
        let mut place = self.place();
        if matches!(place.body, Whereabouts::Out) {
            place.body = body.map_or(Whereabouts::Lost, Whereabouts::Home);
        }
        let awaited_by = place.awaited_by.take();
        drop(place);
        if let Some(pace) = &self.pace {
            pace.reads_no_more();
        }
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

    fn place(&self) -> MutexGuard<'_, Place<B>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Clone for Home<B> {
    fn clone(&self) -> Self {
        Self { place: self.place.clone(), pace: self.pace.clone() }
    }
}
