//! A body that follows a script, and a reader that holds the body around it to what `http_body::Body` promises.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Not ready until the reader says so, through the waker that was left last.
    Wait,
    Data(Bytes),
    Trailers(HeaderMap),
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// What the body does next, and who is to be woken: shared with the reader.
#[derive(Clone)]
pub(crate) struct Script(Arc<Mutex<Play>>);

struct Play {
    steps: VecDeque<Step>,
    left: usize,
    waker: Option<Waker>,
    is_exact: bool,
}

impl Script {
    pub(crate) fn new(steps: Vec<Step>, is_exact: bool) -> Self {
        let len = |step: &Step| if let Step::Data(data) = step { data.len() } else { 0 };
        let left = steps.iter().map(len).sum();
        Self(Arc::new(Mutex::new(Play { steps: steps.into(), left, waker: None, is_exact })))
    }

    pub(crate) fn body(&self) -> Scripted {
        Scripted(self.clone())
    }

    /// How many bodies of it there are.
    pub(crate) fn bodies(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }

    /// The wait is over: whoever asked last is woken.
    fn go_on(&self) -> Option<Waker> {
        let mut play = self.0.lock().unwrap();
        assert!(matches!(play.steps.pop_front(), Some(Step::Wait)), "pending, though the inner body is not");
        play.waker.take()
    }
}

pub(crate) struct Scripted(Script);

impl Body for Scripted {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        let mut play = self.0.0.lock().unwrap();
        if matches!(play.steps.front(), Some(Step::Wait)) {
            play.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let step = play.steps.pop_front();
        Poll::Ready(step.map(|step| match step {
            Step::Data(data) => {
                play.left -= data.len();
                Ok(Frame::data(data))
            }
            Step::Trailers(trailers) => Ok(Frame::trailers(trailers)),
            Step::Fail | Step::Wait => Err(Failed),
        }))
    }

    fn is_end_stream(&self) -> bool {
        let play = self.0.0.lock().unwrap();
        play.is_exact && play.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let play = self.0.0.lock().unwrap();
        if play.is_exact { SizeHint::with_exact(play.left as u64) } else { SizeHint::default() }
    }
}

/// All that a body gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What the body said of its length at first.
    pub(crate) exact: Option<u64>,
    pub(crate) frames: Vec<Bytes>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) error: Option<Failed>,
}

impl Seen {
    pub(crate) fn data(&self) -> Bytes {
        self.frames.concat().into()
    }
}

#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads to the end, or to the first error, or `limit` frames; polls only what is not at its end, and again only
/// once it was woken.
pub(crate) fn read<B>(body: B, script: &Script, limit: usize) -> Seen
where
    B: Body<Data = Bytes, Error = Failed>,
{
    let mut body = pin!(body);
    let wakes = Arc::new(Counting::default());
    let waker = Waker::from(wakes.clone());
    let mut seen = Seen { exact: body.size_hint().exact(), frames: Vec::new(), trailers: None, error: None };
    let mut hints = Vec::new();
    let (mut polls, mut len) = (0, 0);
    while polls < limit {
        polls += 1;
        let was_at_end = body.is_end_stream();
        hints.push((len, body.size_hint()));
        match body.as_mut().poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                let before = wakes.0.load(Ordering::Relaxed);
                script.go_on().expect("pending without a waker").wake();
                assert!(wakes.0.load(Ordering::Relaxed) > before, "the waker is not that of the reader");
                continue;
            }
            Poll::Ready(None) => break,
            Poll::Ready(Some(Err(error))) => {
                seen.error = Some(error);
                return seen;
            }
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    len += data.len() as u64;
                    seen.frames.push(data);
                }
                Err(frame) => seen.trailers = frame.into_trailers().ok(),
            },
        }
        assert!(!was_at_end, "a frame behind the end");
    }
    if polls < limit {
        for (before, hint) in hints {
            assert!(hint.lower() <= len - before, "{hint:?} with {} bytes to come", len - before);
            assert!(hint.upper().is_none_or(|upper| upper >= len - before), "{hint:?} with {}", len - before);
        }
    }
    seen
}
