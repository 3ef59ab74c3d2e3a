use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response, request};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Decision;
use super::body::{InFlight, RequestBody};
use super::exchange::{Exchange, Refused};
use super::home::{Home, Returned};
use super::observer::Failure;
use super::phase::Phase;
use super::reach::Reach;
use super::timer::Timer;
use crate::refusal::Caller;

pin_project! {
    /// Response future of [`StickyRoute`](super::StickyRoute).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<M, R, S, F, B, E> {
        #[pin]
        stage: Stage<S, F, B, E>,
        exchange: Option<Exchange<M, R>>,
        // For another member.
        head: Option<request::Parts>,
        home: Option<Home<B>>,
        timer: Timer,
    }
}

impl<M, R, S, F, B, E> ResponseFuture<M, R, S, F, B, E> {
    pub(super) fn first(exchange: Exchange<M, R>, service: S, request: Request<B>) -> Self {
        let request = Some(request.map(RequestBody::new));
        Self::of(Stage::Readying { service, request }, Some(exchange))
    }

    pub(super) fn refused(refused: Refused, caller: Caller) -> Self {
        Self::of(Stage::Refused { refused: Some((refused, caller)) }, None)
    }

    fn of(stage: Stage<S, F, B, E>, exchange: Option<Exchange<M, R>>) -> Self {
        Self { stage, exchange, head: None, home: None, timer: Timer::default() }
    }
}

impl<M, R, S, F, B, E> fmt::Debug for ResponseFuture<M, R, S, F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, F, B, E> {
        Readying { service: S, request: Option<Request<RequestBody<B>>> },
        Calling { #[pin] future: F },
        // The member failed, and its future is gone.
        Failed { failure: Option<Failed<E>> },
        Refused { refused: Option<(Refused, Caller)> },
        Over,
    }
}

impl<S, F, B, E> Stage<S, F, B, E> {
    fn again(service: S, head: request::Parts, body: Returned<B>) -> Self {
        Self::Readying { service, request: Some(Request::from_parts(head, RequestBody::again(body))) }
    }
}

/// Why a member that was called did not answer.
enum Failed<E> {
    Error(E, Phase),
    HeadTimeout,
}

impl<E> Failed<E> {
    fn phase(&self) -> Phase {
        match self {
            Self::Error(_, phase) => *phase,
            Self::HeadTimeout => Phase::Sent,
        }
    }
}

/// What reads a body for a member that failed, such as a task of hyper, lets go of it at once, or holds it for long.
const HOMECOMING: Duration = Duration::from_secs(1);

impl<M, R, S, B, T> ResponseFuture<M, R, S, S::Future, B, S::Error>
where
    R: Reach<M, Service = S>,
    S: Service<Request<RequestBody<B>>, Response = Response<T>>,
    S::Error: 'static,
{
    /// An error comes with what became of the request.
    #[expect(clippy::type_complexity, reason = "it is the output of a future")]
    pub(super) fn poll_decided(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<InFlight<T>>, (S::Error, Decision)>> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                StageProj::Readying { service, request } => {
                    let Some(exchange) = this.exchange.as_mut() else { return Poll::Pending };
                    let error = match service.poll_ready(cx) {
                        Poll::Ready(readiness) => readiness.err(),
                        Poll::Pending => {
                            ready!(this.timer.poll(exchange.shared.failover.acquire_timeout, cx));
                            this.timer.stop();
                            exchange.failed(Failure::NotReadyInTime);
                            let next = exchange.next(Phase::Connect);
                            let request = request.take();
                            this.stage.set(match next {
                                Some(service) => Stage::Readying { service, request },
                                None => Stage::Refused { refused: this.exchange.take().map(Exchange::busy) },
                            });
                            continue;
                        }
                    };
                    this.timer.stop();
                    let Some(request) = request.take() else { return Poll::Pending };
                    match error {
                        None => {
                            let (mut head, mut body) = request.into_parts();
                            let failover = &exchange.shared.failover;
                            let may_go_again = exchange.may_go_again();
                            let is_timed = failover.head_timeout.is_some();
                            let replay = failover.replay.filter(|_| may_go_again);
                            *this.head = may_go_again.then(|| head.clone());
                            *this.home =
                                (may_go_again || is_timed).then(|| body.comes_home(replay, is_timed));
                            if let Some(decision) = exchange.decision() {
                                head.extensions.insert(decision);
                            }
                            Stage::Calling { future: service.call(Request::from_parts(head, body)) }
                        }
                        Some(error) => {
                            exchange.failed(Failure::Error(Phase::Connect));
                            match exchange.next(Phase::Connect) {
                                Some(service) => Stage::Readying { service, request: Some(request) },
                                None => Stage::Failed { failure: Some(Failed::Error(error, Phase::Connect)) },
                            }
                        }
                    }
                }
                StageProj::Calling { future } => {
                    let Some(exchange) = this.exchange.as_mut() else { return Poll::Pending };
                    let failure = match future.poll(cx) {
                        Poll::Ready(Ok(response)) => {
                            this.timer.stop();
                            // The future may hold the request still.
                            this.stage.set(Stage::Over);
                            exchange.answered(&response);
                            if exchange.is_retried(response.status())
                                && let Some(home) = this.home.take()
                                && let Poll::Ready(Some(body)) = home.poll_body(cx)
                                && let Some(head) = this.head.take()
                                && let Some(service) = exchange.next(Phase::Sent)
                            {
                                this.stage.set(Stage::again(service, head, body));
                                continue;
                            }
                            let Some(exchange) = this.exchange.take() else { return Poll::Pending };
                            return Poll::Ready(Ok(exchange.finish(response)));
                        }
                        Poll::Ready(Err(error)) => {
                            let classify = exchange.shared.classify;
                            let phase = classify.map_or(Phase::Sent, |classify| classify(&error));
                            exchange.failed(Failure::Error(phase));
                            Failed::Error(error, phase)
                        }
                        Poll::Pending => {
                            let limit = exchange.shared.failover.head_timeout;
                            let pace = this.home.as_ref().and_then(|home| home.pace.as_deref());
                            ready!(this.timer.poll_silence(limit, pace, cx));
                            exchange.failed(Failure::NoAnswerInTime);
                            Failed::HeadTimeout
                        }
                    };
                    this.timer.stop();
                    if !exchange.may_move(failure.phase()) {
                        *this.head = None;
                    }
                    Stage::Failed { failure: Some(failure) }
                }
                StageProj::Failed { failure } => {
                    let (Some(exchange), Some(phase)) =
                        (this.exchange.as_mut(), failure.as_ref().map(Failed::phase))
                    else {
                        return Poll::Pending;
                    };
                    let may_wait = exchange.shared.failover.replay.is_some()
                        || matches!(failure, Some(Failed::HeadTimeout));
                    let body = match this.home.as_ref().filter(|_| this.head.is_some()) {
                        Some(home) => match home.poll_body(cx) {
                            Poll::Ready(body) => body,
                            Poll::Pending if may_wait => {
                                ready!(this.timer.poll(Some(HOMECOMING), cx));
                                None
                            }
                            Poll::Pending => None,
                        },
                        None => None,
                    };
                    this.timer.stop();
                    let again = body
                        .zip(this.head.take())
                        .and_then(|(body, head)| Some(Stage::again(exchange.next(phase)?, head, body)));
                    match (again, failure.take()) {
                        (Some(again), _) => again,
                        (None, Some(Failed::HeadTimeout)) => {
                            Stage::Refused { refused: this.exchange.take().map(Exchange::timed_out) }
                        }
                        (None, failure) => {
                            this.stage.set(Stage::Over);
                            let (Some(Failed::Error(error, _)), Some(exchange)) =
                                (failure, this.exchange.take())
                            else {
                                return Poll::Pending;
                            };
                            return Poll::Ready(Err((error, exchange.gave_up())));
                        }
                    }
                }
                StageProj::Refused { refused } => {
                    let Some((refused, caller)) = refused.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(refused.into_response(caller)));
                }
                // Polled again after it was ready.
                StageProj::Over => return Poll::Pending,
            };
            this.stage.set(next);
        }
    }
}

impl<M, R, S, B, T> Future for ResponseFuture<M, R, S, S::Future, B, S::Error>
where
    R: Reach<M, Service = S>,
    S: Service<Request<RequestBody<B>>, Response = Response<T>>,
    S::Error: 'static,
{
    type Output = Result<Response<InFlight<T>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_decided(cx).map_err(|(error, _)| error)
    }
}
