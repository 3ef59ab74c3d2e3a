use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response, request};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::{Home, InFlight, RequestBody};
use super::exchange::{Exchange, Refused};
use super::failover::Phase;
use super::reach::Reach;
use crate::refusal::Caller;

pin_project! {
    /// Response future of [`StickyRoute`](super::StickyRoute).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<M, R, S, F, B> {
        #[pin]
        stage: Stage<S, F, B>,
        exchange: Option<Exchange<M, R>>,
        again: Option<Again<B>>,
    }
}

impl<M, R, S, F, B> ResponseFuture<M, R, S, F, B> {
    pub(super) fn first(exchange: Exchange<M, R>, service: S, request: Request<B>) -> Self {
        Self { stage: Stage::with(service, request), exchange: Some(exchange), again: None }
    }

    pub(super) fn refused(refused: Refused, caller: Caller) -> Self {
        Self { stage: Stage::Refused { refused: Some((refused, caller)) }, exchange: None, again: None }
    }
}

impl<M, R, S, F, B> fmt::Debug for ResponseFuture<M, R, S, F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, F, B> {
        Readying { service: S, request: Option<Request<RequestBody<B>>> },
        Calling { #[pin] future: F },
        Refused { refused: Option<(Refused, Caller)> },
        Over,
    }
}

impl<S, F, B> Stage<S, F, B> {
    fn with(service: S, request: Request<B>) -> Self {
        Self::Readying { service, request: Some(request.map(RequestBody::new)) }
    }
}

/// What another member needs.
struct Again<B> {
    head: request::Parts,
    body: Home<B>,
}

impl<B> Again<B> {
    fn request(self) -> Option<Request<B>> {
        Some(Request::from_parts(self.head, self.body.take()?))
    }
}

impl<M, R, S, B, T> Future for ResponseFuture<M, R, S, S::Future, B>
where
    R: Reach<M, Service = S>,
    S: Service<Request<RequestBody<B>>, Response = Response<T>>,
    S::Error: 'static,
{
    type Output = Result<Response<InFlight<T>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProj::Readying { service, request } => {
                    let readiness = ready!(service.poll_ready(cx));
                    let (Some(exchange), Some(request)) = (this.exchange.as_mut(), request.take()) else {
                        return Poll::Pending;
                    };
                    match readiness {
                        Ok(()) => {
                            let (mut head, mut body) = request.into_parts();
                            *this.again = exchange
                                .may_go_again()
                                .then(|| Again { head: head.clone(), body: body.comes_home() });
                            if let Some(decision) = exchange.decision() {
                                head.extensions.insert(decision);
                            }
                            let future = service.call(Request::from_parts(head, body));
                            this.stage.set(Stage::Calling { future });
                        }
                        Err(error) => {
                            exchange.failed(Phase::Connect);
                            let (head, body) = request.into_parts();
                            let next = body.into_unread().and_then(|body| {
                                Some(Stage::with(exchange.next()?, Request::from_parts(head, body)))
                            });
                            match next {
                                Some(next) => this.stage.set(next),
                                None => {
                                    this.stage.set(Stage::Over);
                                    exchange.gave_up();
                                    *this.exchange = None;
                                    return Poll::Ready(Err(error));
                                }
                            }
                        }
                    }
                }
                StageProj::Calling { future } => {
                    let result = ready!(future.poll(cx));
                    // The future may hold the request still.
                    this.stage.set(Stage::Over);
                    let Some(exchange) = this.exchange.as_mut() else { return Poll::Pending };
                    let may_go_again = match &result {
                        Ok(response) => {
                            exchange.answered(response);
                            exchange.is_retried(response.status())
                        }
                        Err(error) => {
                            let phase =
                                exchange.shared.classify.map_or(Phase::Sent, |classify| classify(error));
                            exchange.failed(phase);
                            phase != Phase::Sent || exchange.is_idempotent
                        }
                    };
                    let again = this.again.take().filter(|_| may_go_again);
                    let next = again
                        .and_then(Again::request)
                        .and_then(|request| Some(Stage::with(exchange.next()?, request)));
                    match next {
                        Some(next) => this.stage.set(next),
                        None => {
                            let Some(mut exchange) = this.exchange.take() else { return Poll::Pending };
                            if result.is_err() {
                                exchange.gave_up();
                            }
                            return Poll::Ready(result.map(|response| exchange.finish(response)));
                        }
                    }
                }
                StageProj::Refused { refused } => {
                    let Some((refused, caller)) = refused.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(refused.into_response(caller)));
                }
                // Polled again after it was ready.
                StageProj::Over => return Poll::Pending,
            }
        }
    }
}
