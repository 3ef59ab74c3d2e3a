//! The response future that all layers share.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;

use crate::body::ResponseBody;
use crate::refusal::{Caller, Refusal};

/// What a unit still owes the response once the inner service has answered. Sealed.
#[diagnostic::on_unimplemented(
    message = "the inner service's response body `{R}` is not a `Body<Data = Bytes>`",
    label = "a layer in here reads the response body, and needs its data as `bytes::Bytes`",
    note = "axum's, hyper's and tonic's bodies have it; make any other one such: `http_body_util::BodyExt::map_frame`, or `http_body_util::Full` for one that is whole",
    note = "it is `ForceHttpsBody` that reads it, also within `BehindProxy`"
)]
pub trait Owed<R>: sealed::Sealed {
    /// The inner body, or a wrapper around it.
    type Body;

    #[doc(hidden)]
    fn settle(self, response: Response<R>) -> Response<Self::Body>;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// Nothing is owed: the response goes out as it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl sealed::Sealed for Nothing {}

impl<R> Owed<R> for Nothing {
    type Body = R;

    fn settle(self, response: Response<R>) -> Response<R> {
        response
    }
}

pin_project! {
    /// Resolves to the refusal of a layer, or to the response of the inner service after the unit has done
    /// with it what it owes it.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, N> {
        #[pin]
        kind: Kind<F, N>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<F, N> {
        Inner { #[pin] future: F, owed: Option<N> },
        Refused { refusal: Option<(Refusal, Caller)> },
    }
}

impl<F, N> ResponseFuture<F, N> {
    pub(crate) fn inner(future: F, owed: N) -> Self {
        Self { kind: Kind::Inner { future, owed: Some(owed) } }
    }

    pub(crate) fn refused(refusal: Refusal, to: Caller) -> Self {
        Self { kind: Kind::Refused { refusal: Some((refusal, to)) } }
    }
}

impl<F, N, R, E> Future for ResponseFuture<F, N>
where
    F: Future<Output = Result<Response<R>, E>>,
    N: Owed<R>,
{
    type Output = Result<Response<ResponseBody<N::Body>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Inner { future, owed } => {
                let response = std::task::ready!(future.poll(cx))?;
                // Polled again after it was ready, a future may do as it likes; this one stays pending.
                let Some(owed) = owed.take() else { return Poll::Pending };
                Poll::Ready(Ok(owed.settle(response).map(ResponseBody::inner)))
            }
            KindProj::Refused { refusal } => match refusal.take() {
                Some((refusal, to)) => Poll::Ready(Ok(refusal.into_response(to))),
                None => Poll::Pending,
            },
        }
    }
}
