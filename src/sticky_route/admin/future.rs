use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::form::MAX_BYTES;
use super::page::Format;
use super::{Console, Operator};
use crate::body::ResponseBody;
use crate::refusal::RefusalKind;

pin_project! {
    /// Resolves to the answer of [`StickyAdmin`](super::StickyAdmin), once the form is read.
    #[must_use = "futures do nothing unless polled"]
    pub struct AdminFuture<S, B> {
        #[pin]
        kind: Kind<S, B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<S, B> {
        Answered { response: Option<Response<ResponseBody<String>>> },
        Reading {
            #[pin]
            body: B,
            read: Vec<u8>,
            visit: Option<Visit<S>>,
        },
    }
}

/// Whose form is read, and what for.
pub(super) struct Visit<S> {
    pub(super) console: Arc<Console<S>>,
    pub(super) operator: Operator,
    pub(super) format: Format,
}

impl<S, B> AdminFuture<S, B> {
    pub(super) fn answered(response: Response<ResponseBody<String>>) -> Self {
        Self { kind: Kind::Answered { response: Some(response) } }
    }

    pub(super) fn reading(body: B, visit: Visit<S>) -> Self {
        Self { kind: Kind::Reading { body, read: Vec::new(), visit: Some(visit) } }
    }
}

impl<S, B> fmt::Debug for AdminFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminFuture").finish_non_exhaustive()
    }
}

impl<S, B> Future for AdminFuture<S, B>
where
    S: Clone,
    B: Body,
{
    type Output = Result<Response<ResponseBody<String>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match self.project().kind.project() {
            KindProj::Answered { response } => response.take(),
            KindProj::Reading { body, read, visit } => {
                if visit.is_none() {
                    return Poll::Pending;
                }
                let form = ready!(poll_read(body, read, cx));
                visit.take().map(|visit| {
                    visit.console.answer_form(visit.operator, visit.format, form.map(|()| &**read))
                })
            }
        };
        // Polled again after it was ready, a future may do as it likes; this one stays pending.
        response.map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
    }
}

/// Reads all of the body, unless it is too much.
fn poll_read<B: Body>(
    mut body: Pin<&mut B>,
    read: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), RefusalKind>> {
    while let Some(frame) = ready!(body.as_mut().poll_frame(cx)) {
        let Ok(frame) = frame else { return Poll::Ready(Err(RefusalKind::FormMalformed)) };
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > MAX_BYTES.saturating_sub(read.len()) {
            return Poll::Ready(Err(RefusalKind::BodyTooLarge));
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    Poll::Ready(Ok(()))
}
