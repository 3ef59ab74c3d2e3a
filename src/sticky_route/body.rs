use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::home::{Home, Returned};
use super::pool::Attempt;
use super::replay::LoggedBody;

pin_project! {
    /// The request body that members get: it comes home when a member drops it, so that the next member can have it.
    ///
    /// One that nobody read comes home as it is. One of which a frame was asked for comes home with
    /// [`Failover::replay`](super::Failover::replay) alone, with a log of what was read; the next member reads that first.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        unread: Option<B>,
        logged: Option<LoggedBody<B>>,
        #[pin]
        reading: Option<B>,
        home: Option<Home<B>>,
        // How many bytes may be logged.
        replay: Option<usize>,
    }

    impl<B> PinnedDrop for RequestBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(home) = this.home.take() {
                home.come(match this.unread.take() {
                    Some(body) => Some(Returned::Unread(body)),
                    None => this.logged.take().and_then(LoggedBody::rewound).map(Returned::Logged),
                });
            }
        }
    }
}

impl<B> RequestBody<B> {
    pub(super) fn new(body: B) -> Self {
        Self { unread: Some(body), logged: None, reading: None, home: None, replay: None }
    }

    pub(super) fn again(returned: Returned<B>) -> Self {
        match returned {
            Returned::Unread(body) => Self::new(body),
            Returned::Logged(logged) => {
                Self { unread: None, logged: Some(logged), reading: None, home: None, replay: None }
            }
        }
    }

    /// Where it will be when the member drops it, with at most `replay` bytes of what was read.
    pub(super) fn comes_home(&mut self, replay: Option<usize>, is_paced: bool) -> Home<B> {
        let home = Home::new(is_paced);
        self.home = Some(home.clone());
        self.replay = replay;
        if replay.is_none()
            && let Some(logged) = &mut self.logged
        {
            logged.keep_no_more();
        }
        home
    }
}

/// The data may be of any type; only [`Bytes`](bytes::Bytes) are logged.
impl<B: Body> Body for RequestBody<B>
where
    B::Data: 'static,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        if this.unread.as_ref().is_some_and(Body::is_end_stream) {
            return Poll::Ready(None);
        }
        if let Some(body) = this.unread.take() {
            match *this.replay {
                Some(cap) if LoggedBody::may_fit(&body, cap) => {
                    *this.logged = Some(LoggedBody::new(body, cap));
                }
                _ => {
                    this.reading.set(Some(body));
                    if let Some(home) = this.home {
                        home.come(None);
                    }
                }
            }
        }
        let home = this.home.as_ref();
        let look = |cx: &mut Context<'_>| match (this.logged, this.reading.as_pin_mut()) {
            (Some(logged), _) => {
                let was_whole = logged.is_whole();
                let frame = logged.poll_frame(cx);
                if was_whole
                    && !logged.is_whole()
                    && let Some(home) = home
                {
                    home.come(None);
                }
                frame
            }
            (None, Some(body)) => body.poll_frame(cx),
            (None, None) => Poll::Ready(None),
        };
        match home.and_then(|home| home.pace.as_ref()) {
            Some(pace) => pace.poll(cx, look),
            None => look(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.logged {
            Some(logged) => logged.is_end_stream(),
            None => self.unread.as_ref().or(self.reading.as_ref()).is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.logged {
            Some(logged) => logged.size_hint(),
            None => {
                let body = self.unread.as_ref().or(self.reading.as_ref());
                body.map_or_else(SizeHint::default, Body::size_hint)
            }
        }
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
        let frame = ready!(body.poll_frame(cx));
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
    use std::collections::VecDeque;
    use std::task::Waker;

    use bytes::Bytes;
    use http::HeaderMap;
    use http_body_util::{BodyExt, Full};
    use proptest::prelude::*;

    use super::*;

    const KIB: usize = 1024;

    fn sent<B>(body: B, replay: Option<usize>) -> (RequestBody<B>, Home<B>) {
        let mut body = RequestBody::new(body);
        let home = body.comes_home(replay, false);
        (body, home)
    }

    fn returned<B>(home: &Home<B>) -> Option<RequestBody<B>> {
        match home.poll_body(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(body) => body.map(RequestBody::again),
            Poll::Pending => panic!("it is out still"),
        }
    }

    #[tokio::test]
    async fn a_body_that_nobody_read_comes_home() {
        for replay in [None, Some(0), Some(KIB)] {
            let (body, home) = sent(Full::<Bytes>::from("page"), replay);
            assert_eq!(body.size_hint().exact(), Some(4));
            assert!(!body.is_end_stream());
            drop(body);
            assert_eq!(returned(&home).unwrap().collect().await.unwrap().to_bytes(), "page");
            assert!(returned(&home).is_none());
        }
    }

    #[tokio::test]
    async fn an_empty_body_comes_home_although_it_was_read() {
        let (mut body, home) = sent(Full::<Bytes>::default(), None);
        assert!(body.frame().await.is_none());
        drop(body);
        assert!(returned(&home).is_some());
    }

    #[tokio::test]
    async fn a_body_that_was_read_comes_home_with_a_log_alone() {
        for (replay, expected) in [(None, false), (Some(3), false), (Some(4), true)] {
            let (mut body, home) = sent(Full::<Bytes>::from("page"), replay);
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "page");
            drop(body);
            assert_eq!(returned(&home).is_some(), expected, "{replay:?}");
        }
    }

    #[tokio::test]
    async fn the_log_is_kept_for_as_long_as_another_member_could_read_it() {
        let (mut body, home) = sent(Full::<Bytes>::from("page"), Some(KIB));
        assert!(body.frame().await.is_some());
        drop(body);
        let mut again = returned(&home).unwrap();
        let home = again.comes_home(Some(KIB), false);
        assert_eq!(again.frame().await.unwrap().unwrap().into_data().unwrap(), "page");
        drop(again);
        let mut last = returned(&home).unwrap();
        let home = last.comes_home(None, false);
        assert_eq!(last.collect().await.unwrap().to_bytes(), "page");
        assert!(returned(&home).is_none());
    }

    #[tokio::test]
    async fn data_of_another_type_are_read_and_not_logged() {
        let (mut body, home) = sent(Full::new(VecDeque::from(b"page".to_vec())), Some(KIB));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), b"page".to_vec());
        drop(body);
        assert!(returned(&home).is_none());
    }

    #[tokio::test]
    async fn whoever_waits_for_a_body_is_woken() {
        let (body, home) = sent(Full::<Bytes>::from("page"), None);
        let waiting = tokio::spawn(std::future::poll_fn(move |cx| home.poll_body(cx)));
        tokio::task::yield_now().await;
        drop(body);
        let body = tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await;
        assert!(body.expect("woken").unwrap().is_some());
    }

    #[test]
    fn our_own_answer_is_empty() {
        let body = InFlight::<Full<Bytes>>::empty();
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }

    #[derive(Clone, Debug, PartialEq)]
    enum Step {
        Data(Bytes),
        Trailers(HeaderMap),
        Waits,
        Fails,
    }

    #[derive(Clone, Debug)]
    struct Scripted(VecDeque<Step>);

    impl Body for Scripted {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            match self.0.pop_front() {
                Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Some(Step::Fails) => Poll::Ready(Some(Err("the client went"))),
                Some(Step::Waits) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Ready(None),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            let size = |step: &Step| if let Step::Data(data) = step { data.len() } else { 0 };
            SizeHint::with_exact(self.0.iter().map(size).sum::<usize>().try_into().unwrap())
        }
    }

    /// Polls so often, or until the end; all frames but empty ones.
    fn read<B: Body<Data = Bytes, Error = &'static str> + Unpin>(body: &mut B, polls: usize) -> Vec<Step> {
        let mut seen = Vec::new();
        for _ in 0..polls {
            match Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => {}
                Poll::Ready(None) => return seen,
                Poll::Ready(Some(Err(_))) => seen.push(Step::Fails),
                Poll::Ready(Some(Ok(frame))) => seen.push(match frame.into_data() {
                    Ok(data) => Step::Data(data),
                    Err(frame) => Step::Trailers(frame.into_trailers().unwrap()),
                }),
            }
        }
        seen
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|data| Step::Data(data.into())),
            2 => Just(Step::Waits),
            1 => Just(Step::Trailers(HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]))),
            1 => Just(Step::Fails),
        ]
    }

    fn is_something(step: &Step) -> bool {
        !matches!(step, Step::Data(data) if data.is_empty()) && *step != Step::Waits
    }

    proptest! {
        /// Each member sees what one that has the body alone would see, or there is no next member.
        #[test]
        fn every_member_reads_the_same_body(
            steps in prop::collection::vec(step(), 0..12),
            members in prop::collection::vec(0..14_usize, 1..5),
            cap in 0..200_usize,
        ) {
            let whole = Scripted(steps.into());
            let all: Vec<Step> = whole.0.iter().filter(|step| is_something(step)).cloned().collect();
            let mut body = RequestBody::new(whole.clone());
            for polls in members {
                prop_assert_eq!(body.size_hint().exact(), whole.size_hint().exact());
                let home = body.comes_home(Some(cap), false);
                let mut seen = read(&mut body, polls);
                let rest: u64 = seen.iter().map(|step| if let Step::Data(data) = step { data.len() as u64 } else { 0 }).sum();
                prop_assert_eq!(body.size_hint().exact(), Some(whole.size_hint().exact().unwrap() - rest));
                seen.retain(is_something);
                prop_assert_eq!(&seen[..], &all[..seen.len()]);
                prop_assert!(!body.is_end_stream() || seen == all);
                drop(body);
                let size = |step: &Step| match step {
                    Step::Data(data) => data.len(),
                    Step::Trailers(_) => "etagx".len(),
                    _ => 0,
                };
                let is_kept = !seen.contains(&Step::Fails) && seen.iter().map(size).sum::<usize>() <= cap;
                let is_begun = polls > 0 && whole.size_hint().lower() > cap as u64;
                match returned(&home) {
                    Some(again) => {
                        prop_assert!(is_kept);
                        body = again;
                    }
                    None => {
                        prop_assert!(!is_kept || is_begun);
                        return Ok(());
                    }
                }
            }
            prop_assert_eq!(read(&mut body, 100).into_iter().filter(is_something).collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn many_small_frames_are_too_many() {
        for (frames, expected) in [(1024, true), (1025, false)] {
            let whole = Scripted(std::iter::repeat_n(Step::Data(Bytes::from_static(b"x")), frames).collect());
            let (mut body, home) = sent(whole, Some(usize::MAX));
            assert_eq!(read(&mut body, 2000).len(), frames);
            drop(body);
            assert_eq!(returned(&home).is_some(), expected, "{frames}");
        }
    }
}
