use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::engine::Upgrader;
use super::gate;

pin_project! {
    /// The inner body, with its URLs upgraded as it flows; or the inner body as it is.
    ///
    /// Errors are those of the inner body, `E`: what is decided by then has gone out before.
    #[derive(Debug)]
    pub struct UpgradedBody<R, E> {
        #[pin]
        inner: Inner<R>,
        // Was read while the head of the response was held back.
        first: Option<Result<Frame<Bytes>, E>>,
        work: Work,
    }
}

pin_project! {
    #[project = InnerProj]
    #[derive(Debug)]
    enum Inner<R> {
        InPlace { #[pin] body: R },
        Boxed { body: Pin<Box<R>> },
    }
}

#[derive(Debug)]
enum Work {
    Nothing,
    /// Reads along, and changes nothing.
    Report(Box<Upgrader>),
    Upgrade(Box<Upgrade>),
}

#[derive(Debug)]
struct Upgrade {
    /// None once the whole page is upgraded.
    upgrader: Option<Upgrader>,
    /// They go out after what the upgrader held.
    trailers: Option<HeaderMap>,
    is_at_end: bool,
}

impl<R, E> UpgradedBody<R, E> {
    pub(super) fn untouched(body: R) -> Self {
        Self { inner: Inner::InPlace { body }, first: None, work: Work::Nothing }
    }

    pub(super) fn reporting(body: R, upgrader: Upgrader) -> Self {
        Self { inner: Inner::InPlace { body }, first: None, work: Work::Report(Box::new(upgrader)) }
    }

    pub(super) fn streaming(body: R, upgrader: Upgrader) -> Self {
        Self { inner: Inner::InPlace { body }, first: None, work: Upgrade::new(Some(upgrader)).into() }
    }
}

/// What a look at the whole page says.
pub(super) enum Whole {
    /// Nothing changes.
    Clean,
    /// The page is this long now.
    Upgraded(u64),
    /// It is not there as one piece: it is upgraded as it flows.
    Unknown,
}

impl<R> UpgradedBody<R, R::Error>
where
    R: Body<Data = Bytes>,
{
    /// Reads the body's first frame if it is there; `len` is the length of the whole body.
    pub(super) fn look(body: R, len: u64, upgrader: impl FnOnce() -> Upgrader) -> (Self, Whole) {
        let mut body = Box::pin(body);
        // Nobody waits here: whoever takes the body polls it again, with a waker of its own.
        let mut first = match body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(frame)) => Some(frame),
            Poll::Ready(None) => {
                let work = Upgrade { is_at_end: true, ..Upgrade::new(None) }.into();
                return (Self { inner: Inner::Boxed { body }, first: None, work }, Whole::Clean);
            }
            Poll::Pending => None,
        };
        let page = first.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).cloned();
        let page = page.filter(|page| u64::try_from(page.len()) == Ok(len));
        let (upgrader, whole) = match page {
            None => (Some(upgrader()), Whole::Unknown),
            Some(page) => match Upgrader::whole(upgrader, &page) {
                None => (None, Whole::Clean),
                Some(page) => {
                    let len = u64::try_from(page.len()).unwrap_or(u64::MAX);
                    first = Some(Ok(Frame::data(page)));
                    (None, Whole::Upgraded(len))
                }
            },
        };
        // A clean body keeps its trailers, digests too.
        let work = match whole {
            Whole::Clean => Work::Nothing,
            Whole::Upgraded(_) | Whole::Unknown => Upgrade::new(upgrader).into(),
        };
        (Self { inner: Inner::Boxed { body }, first, work }, whole)
    }
}

impl From<Upgrade> for Work {
    fn from(upgrade: Upgrade) -> Self {
        Self::Upgrade(Box::new(upgrade))
    }
}

impl Upgrade {
    fn new(upgrader: Option<Upgrader>) -> Self {
        Self { upgrader, trailers: None, is_at_end: false }
    }

    fn finish(&mut self) -> Option<Frame<Bytes>> {
        let held = self.upgrader.as_mut()?.finish();
        (!held.is_empty()).then(|| Frame::data(held))
    }

    /// `None`: all of it waits.
    fn upgrade(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let frame = match (frame.into_data(), &mut self.upgrader) {
            (Ok(data), Some(upgrader)) => {
                let is_empty = data.is_empty();
                let ready = upgrader.push(data);
                return (is_empty || !ready.is_empty()).then(|| Frame::data(ready));
            }
            (Ok(data), None) => return Some(Frame::data(data)),
            (Err(frame), _) => frame,
        };
        let mut trailers = match frame.into_trailers() {
            Ok(trailers) => trailers,
            Err(frame) => return Some(frame),
        };
        gate::remove_digests(&mut trailers);
        match self.finish() {
            Some(held) => {
                self.trailers = Some(trailers);
                Some(held)
            }
            None => Some(Frame::trailers(trailers)),
        }
    }
}

impl<R> Body for UpgradedBody<R, R::Error>
where
    R: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut this = self.project();
        // A frame of which all waits asks for the next one at once: nobody else would wake the task.
        loop {
            let mut next = |cx: &mut Context<'_>| match this.first.take() {
                Some(first) => Poll::Ready(Some(first)),
                None => this.inner.as_mut().poll_frame(cx),
            };
            let work = match this.work {
                Work::Nothing => return next(cx),
                Work::Report(upgrader) => {
                    let frame = ready!(next(cx));
                    let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                    if let Some(data) = data {
                        upgrader.push(data.clone());
                    }
                    if frame.is_none() || this.inner.is_end_stream() {
                        upgrader.finish();
                        *this.work = Work::Nothing;
                    }
                    return Poll::Ready(frame);
                }
                Work::Upgrade(upgrade) => upgrade,
            };
            if let Some(trailers) = work.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if work.is_at_end {
                return Poll::Ready(None);
            }
            match ready!(next(cx)) {
                Some(Ok(frame)) => {
                    if let Some(frame) = work.upgrade(frame) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    work.is_at_end = true;
                    return Poll::Ready(work.finish().map(Ok));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let has_work = match &self.work {
            Work::Nothing | Work::Report(_) => false,
            Work::Upgrade(work) => {
                work.trailers.is_some()
                    || work.upgrader.as_ref().is_some_and(|upgrader| !upgrader.is_drained())
            }
        };
        self.first.is_none() && !has_work && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let streams = matches!(&self.work, Work::Upgrade(work) if work.upgrader.is_some());
        if streams && !self.is_end_stream() {
            // Each `:80` that goes makes the page shorter.
            return SizeHint::default();
        }
        let inner = self.inner.size_hint();
        let first = self.first.as_ref().and_then(|first| first.as_ref().ok()?.data_ref());
        let Some(first) = first.and_then(|first| u64::try_from(first.len()).ok()) else { return inner };
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(first));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(first));
        }
        hint
    }
}

impl<R: Body> Inner<R> {
    fn as_body(&self) -> &R {
        match self {
            Self::InPlace { body } => body,
            Self::Boxed { body } => body,
        }
    }
}

impl<R: Body> Body for Inner<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        match self.project() {
            InnerProj::InPlace { body } => body.poll_frame(cx),
            InnerProj::Boxed { body } => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.as_body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.as_body().size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::sync::Arc;

    use http::HeaderValue;
    use http_body_util::{BodyExt, Full};

    use super::super::policy::UpgradePolicy;
    use super::*;

    /// Frames that are all ready, and an error where there is one.
    struct Frames(VecDeque<Result<Frame<Bytes>, &'static str>>, Option<u64>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            let frame = self.0.pop_front();
            assert!(frame.is_some() || self.1.take().is_some(), "polled behind its end");
            Poll::Ready(frame)
        }
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    fn frames(frames: impl IntoIterator<Item = Result<Frame<Bytes>, &'static str>>) -> Frames {
        Frames(frames.into_iter().collect(), Some(0))
    }

    fn upgrader() -> Upgrader {
        Upgrader::new(Arc::new(UpgradePolicy::new()))
    }

    #[tokio::test]
    async fn what_waits_goes_out_before_trailers_and_end() {
        let trailers = HeaderMap::from_iter([(http::header::AGE, HeaderValue::from_static("1"))]);
        let inner = frames([data("<img src=\"ht"), data("tp"), Ok(Frame::trailers(trailers))]);
        let mut body = UpgradedBody::streaming(inner, upgrader());
        let mut next = async || body.frame().await.map(|frame| frame.unwrap());
        assert_eq!(next().await.unwrap().into_data().unwrap(), "<img src=\"");
        assert_eq!(next().await.unwrap().into_data().unwrap(), "http");
        assert_eq!(next().await.unwrap().into_trailers().unwrap().len(), 1);
        assert!(next().await.is_none());
        // The inner body panics if it is polled behind its end.
        assert!(next().await.is_none());
    }

    #[tokio::test]
    async fn data_behind_trailers_passes_as_it_is() {
        let none = || Ok(Frame::trailers(HeaderMap::new()));
        for (page, rest) in [("<p>", "<img src=http://h/>"), ("<img src=http://h", "/>")] {
            let body = UpgradedBody::streaming(frames([data(page), none(), data(rest), none()]), upgrader());
            assert_eq!(body.collect().await.unwrap().to_bytes(), [page, rest].concat());
        }
    }

    #[tokio::test]
    async fn the_same_error_after_what_was_decided() {
        let inner = frames([data("<img src=http://h/>"), data("a"), Err("boom")]);
        let mut body = UpgradedBody::streaming(inner, upgrader());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "<img src=https://h/>");
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        assert_eq!(body.frame().await.unwrap().unwrap_err(), "boom");
    }

    #[tokio::test]
    async fn an_error_of_the_first_look_is_not_lost() {
        let (mut body, whole) = UpgradedBody::look(frames([Err("boom")]), 9, upgrader);
        assert!(matches!(whole, Whole::Unknown));
        assert_eq!(body.frame().await.unwrap().unwrap_err(), "boom");
    }

    #[tokio::test]
    async fn a_first_frame_that_is_not_the_whole_page() {
        let (body, whole) = UpgradedBody::look(frames([data("<img src=ht"), data("tp://h/>")]), 19, upgrader);
        assert!(matches!(whole, Whole::Unknown));
        assert_eq!(body.size_hint().exact(), None);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "<img src=https://h/>");
    }

    #[tokio::test]
    async fn a_body_that_ends_at_the_first_look() {
        let (mut body, whole) = UpgradedBody::look(frames([]), 9, upgrader);
        assert!(matches!(whole, Whole::Clean));
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn lengths() {
        let page = |text: &'static str| Full::<Bytes>::from(text);
        let (body, whole) = UpgradedBody::look(page("<img src=http://h/>"), 19, upgrader);
        assert!(matches!(whole, Whole::Upgraded(20)));
        assert_eq!(body.size_hint().exact(), Some(20));
        assert!(!body.is_end_stream());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "<img src=https://h/>");

        let (body, whole) = UpgradedBody::look(page("<img>"), 5, upgrader);
        assert!(matches!(whole, Whole::Clean));
        assert_eq!(body.size_hint().exact(), Some(5));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "<img>");

        let body = UpgradedBody::<_, Infallible>::streaming(page("<img>"), upgrader());
        assert_eq!(body.size_hint().exact(), None);
        let body = UpgradedBody::<_, Infallible>::streaming(page(""), upgrader());
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        let body = UpgradedBody::<_, Infallible>::untouched(page("<img>"));
        assert_eq!(body.size_hint().exact(), Some(5));
    }
}
