use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::pool::Attempt;

pin_project! {
    /// The request body that members get: it comes home when a member drops it unread, so that the next member can
    /// have it.
    ///
    /// Nothing is buffered. A body of which one frame was asked for does not come home.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        unread: Option<B>,
        home: Option<Home<B>>,
        #[pin]
        reading: Option<B>,
    }

    impl<B> PinnedDrop for RequestBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let (Some(body), Some(home)) = (this.unread.take(), this.home.take()) {
                home.put(body);
            }
        }
    }
}

impl<B> RequestBody<B> {
    pub(super) fn new(body: B) -> Self {
        Self { unread: Some(body), home: None, reading: None }
    }

    pub(super) fn into_unread(mut self) -> Option<B> {
        self.unread.take()
    }

    pub(super) fn comes_home(&mut self) -> Home<B> {
        let home = Home(Arc::new(Mutex::new(None)));
        self.home = Some(home.clone());
        home
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        if let Some(body) = this.unread.take() {
            *this.home = None;
            this.reading.set(Some(body));
        }
        match this.reading.as_pin_mut() {
            Some(body) => body.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.unread.as_ref().or(self.reading.as_ref()).is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.unread.as_ref().or(self.reading.as_ref()).map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// Where a body goes that nobody read.
#[derive(Debug)]
pub(super) struct Home<B>(Arc<Mutex<Option<B>>>);

impl<B> Home<B> {
    fn put(&self, body: B) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    pub(super) fn take(&self) -> Option<B> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<B> Clone for Home<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

pin_project! {
    /// The response body of a member, which counts as busy until the body ends or is dropped. Empty where no member
    /// answered.
    #[derive(Debug)]
    pub struct InFlight<R> {
        #[pin]
        body: Option<R>,
        attempt: Option<Attempt>,
    }
}

impl<R> InFlight<R> {
    pub(super) fn new(body: R, attempt: Option<Attempt>) -> Self {
        Self { body: Some(body), attempt }
    }

    pub(super) fn empty() -> Self {
        Self { body: None, attempt: None }
    }
}

impl<R: Body> Body for InFlight<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let Some(body) = this.body.as_pin_mut() else { return Poll::Ready(None) };
        let frame = std::task::ready!(body.poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            *this.attempt = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// An upgraded connection, WebSocket as a rule: it is in the extensions of a response 101, and the member counts as busy
/// as long as it or a clone of it lives.
///
/// The server drops it with the head, unless whoever joins the two connections takes it out and keeps it until they end.
/// Then [`max_in_flight`](super::Member::max_in_flight) and [drains](super::Membership::drain) see upgraded connections.
///
/// # Example
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use tower::{ServiceExt, service_fn};
/// use tower_proxied::sticky_route::{InFlightUpgrade, Member, RequestBody, RouteCookie, StickyRoute};
///
/// async fn switch(_: Request<RequestBody<String>>) -> Result<Response<String>, std::io::Error> {
///     let mut response = Response::new(String::new());
///     *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
///     Ok(response)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sticky = StickyRoute::builder("chat")
///     .member(Member::new("http-1", service_fn(switch)))
///     .cookie(RouteCookie::plain())
///     .build()?;
/// let members = sticky.membership();
/// let mut response = sticky.oneshot(Request::new(String::new())).await?;
/// let in_flight = response.extensions_mut().remove::<InFlightUpgrade>();
/// drop(response);
/// let joined = tokio::spawn(async move {
///     // Here bytes go to and fro, until either side ends.
///     drop(in_flight);
/// });
/// assert_eq!(members.status()[0].in_flight(), 1);
/// joined.await?;
/// assert_eq!(members.status()[0].in_flight(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct InFlightUpgrade {
    _attempt: Arc<Attempt>,
}

impl InFlightUpgrade {
    pub(super) fn new(attempt: Attempt) -> Self {
        Self { _attempt: Arc::new(attempt) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};

    use super::*;

    fn body() -> (RequestBody<Full<Bytes>>, Home<Full<Bytes>>) {
        let mut body = RequestBody::new(Full::from("page"));
        let home = body.comes_home();
        (body, home)
    }

    #[tokio::test]
    async fn a_body_that_nobody_read_comes_home() {
        let (body, home) = body();
        assert_eq!(body.size_hint().exact(), Some(4));
        assert!(!body.is_end_stream());
        drop(body);
        assert_eq!(home.take().unwrap().collect().await.unwrap().to_bytes(), "page");
        assert!(home.take().is_none());
    }

    #[tokio::test]
    async fn a_body_that_was_read_does_not() {
        let (mut body, home) = body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "page");
        drop(body);
        assert!(home.take().is_none());
    }

    #[test]
    fn our_own_answer_is_empty() {
        let body = InFlight::<Full<Bytes>>::empty();
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }
}
