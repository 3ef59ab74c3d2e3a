use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::reach::Reach;
use super::{Decision, InFlight, RequestBody, ResponseFuture, StickyRoute};
use crate::shell::accessors;

/// A [`StickyRoute`] whose errors tell the [`Decision`], as [`Unanswered`]: what
/// [`StickyRoute::errors_to_502`] answers for.
#[derive(Clone, Debug)]
#[must_use]
pub struct DecidedErrors<S> {
    inner: S,
}

impl<S> DecidedErrors<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

accessors! { DecidedErrors }

impl<M, R, S, B, T> Service<Request<B>> for DecidedErrors<StickyRoute<M, R>>
where
    R: Reach<M, Service = S>,
    S: Service<Request<RequestBody<B>>, Response = Response<T>>,
    S::Error: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    type Response = Response<InFlight<T>>;
    type Error = Unanswered;
    type Future = DecidedFuture<ResponseFuture<M, R, S, S::Future, B, S::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unanswered>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        DecidedFuture { inner: self.inner.call(request) }
    }
}

pin_project! {
    /// Response future of [`DecidedErrors`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct DecidedFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<M, R, S, B, T> Future for DecidedFuture<ResponseFuture<M, R, S, S::Future, B, S::Error>>
where
    R: Reach<M, Service = S>,
    S: Service<Request<RequestBody<B>>, Response = Response<T>>,
    S::Error: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    type Output = Result<Response<InFlight<T>>, Unanswered>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.project().inner.poll_decided(cx);
        answer.map_err(|(error, decision)| Unanswered { error: error.into(), decision })
    }
}

/// The error of a member, and what became of the request. Its text and sources are those of the error.
#[derive(Debug)]
pub struct Unanswered {
    error: Box<dyn Error + Send + Sync>,
    decision: Decision,
}

impl Unanswered {
    /// The last member that was to answer, and the number of them.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The error.
    pub fn into_inner(self) -> Box<dyn Error + Send + Sync> {
        self.error
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Unanswered {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
