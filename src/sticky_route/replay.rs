use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// A body that logs what is read of it, and gives that again first.
#[derive(Debug)]
pub(super) struct LoggedBody<B> {
    /// `None` when it ended.
    rest: Option<Pin<Box<B>>>,
    log: Vec<Logged>,
    /// The next one to be given.
    at: usize,
    /// How many bytes more may be logged.
    room: usize,
    /// The log holds all that was read.
    is_whole: bool,
}

#[derive(Debug)]
enum Logged {
    Data(Bytes),
    Trailers(HeaderMap),
}

type FrameOf<B> = Result<Frame<<B as Body>::Data>, <B as Body>::Error>;

/// Many small frames cost more than their bytes.
const MOST_FRAMES: usize = 1024;

impl<B> LoggedBody<B> {
    pub(super) fn new(body: B, cap: usize) -> Self {
        Self { rest: Some(Box::pin(body)), log: Vec::new(), at: 0, room: cap, is_whole: true }
    }

    /// Whether all that was read can be had again.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// From its start again, if that is there.
    pub(super) fn rewound(mut self) -> Option<Self> {
        self.at = 0;
        self.is_whole.then_some(self)
    }

    /// Nobody will read it again.
    pub(super) fn keep_no_more(&mut self) {
        self.is_whole = false;
    }

    fn is_replayed(&self) -> bool {
        self.at >= self.log.len()
    }

    fn forget(&mut self) {
        self.is_whole = false;
        self.log = Vec::new();
        self.at = 0;
    }
}

impl<B: Body> LoggedBody<B>
where
    B::Data: 'static,
{
    /// Whether it makes sense to log it.
    pub(super) fn may_fit(body: &B, cap: usize) -> bool {
        usize::try_from(body.size_hint().lower()).is_ok_and(|size| size <= cap)
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<FrameOf<B>>> {
        if let Some(frame) = self.log.get(self.at).and_then(Logged::frame) {
            self.at = self.at.saturating_add(1);
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = ready!(rest.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(frame)) if self.is_whole => self.keep(frame),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.forget(),
            None => self.rest = None,
        }
        Poll::Ready(frame)
    }

    fn keep(&mut self, frame: &Frame<B::Data>) {
        let room = Logged::of(frame).and_then(|(logged, size)| {
            let room = self.room.checked_sub(size)?;
            if size > 0 {
                self.log.push(logged);
            }
            (self.log.len() <= MOST_FRAMES).then_some(room)
        });
        match room {
            Some(room) => {
                self.room = room;
                self.at = self.log.len();
            }
            None => self.forget(),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.is_replayed() && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let ahead = self.log.iter().skip(self.at).map(Logged::data_size).fold(0, u64::saturating_add);
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), |rest| rest.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(ahead)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl Logged {
    /// With what it takes of the room. `None`: it cannot be had again.
    fn of<D: 'static>(frame: &Frame<D>) -> Option<(Self, usize)> {
        if let Some(trailers) = frame.trailers_ref() {
            let size = trailers.iter().map(|(name, value)| name.as_str().len().saturating_add(value.len()));
            return Some((Self::Trailers(trailers.clone()), size.fold(0, usize::saturating_add)));
        }
        let data: &dyn Any = frame.data_ref()?;
        let data = data.downcast_ref::<Bytes>()?;
        Some((Self::Data(data.clone()), data.len()))
    }

    fn frame<D: 'static>(&self) -> Option<Frame<D>> {
        match self {
            Self::Data(data) => {
                let mut data = Some(data.clone());
                let data: &mut dyn Any = &mut data;
                data.downcast_mut::<Option<D>>()?.take().map(Frame::data)
            }
            Self::Trailers(trailers) => Some(Frame::trailers(trailers.clone())),
        }
    }

    fn data_size(&self) -> u64 {
        match self {
            Self::Data(data) => data.len().try_into().unwrap_or(u64::MAX),
            Self::Trailers(_) => 0,
        }
    }
}
