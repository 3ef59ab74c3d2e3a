//! Errors of an inner service become responses.
//!
//! axum takes services whose error is [`Infallible`] only, and a browser behind a front end should see a page
//! rather than a connection that breaks. [`ErrorsTo502`] makes both of anything that can fail.
//!
//! # What it decides, in order
//!
//! 1. The inner service was not ready, ever since: every request is answered [`RefusalKind::MemberFailed`] with the
//!    error of that time. A service that failed to become ready must not be asked again (the contract of
//!    `Service::poll_ready`); a clone starts anew.
//! 2. The inner service answers: its response, untouched.
//! 3. It fails: [`RefusalKind::MemberFailed`], that is 502 or, for gRPC, `grpc-status: 14`.
//!
//! In cases 1 and 3 a [`MemberError`] stands in the response's extensions, for logs: the error and its causes. The client
//! never sees its text.
//! An error of the response *body* comes when the head is out: it stays an error.
//!
//! # Example
//!
//! ```
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_proxied::errors_to_502::{ErrorsTo502Layer, MemberError};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(ErrorsTo502Layer::new())
//!     .service_fn(|_: Request<()>| async { Err::<Response<String>, _>("10.0.0.7:8000: connection refused") });
//! let Ok(response) = service.oneshot(Request::new(())).await;
//! assert_eq!(response.status(), 502);
//! let error = response.extensions().get::<MemberError>().expect("the layer puts it there");
//! assert_eq!(error.to_string(), "10.0.0.7:8000: connection refused");
//! # use http_body_util::BodyExt;
//! # let page = response.into_body().map_frame(|frame| frame.map_data(bytes::Bytes::from));
//! assert_eq!(page.collect().await.unwrap().to_bytes(), "the application server did not answer");
//! # }
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

pub use crate::body::ResponseBody;
use crate::refusal::{Caller, Refusal, RefusalKind};
use crate::shell::accessors;

/// Layer of [`ErrorsTo502`].
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct ErrorsTo502Layer(());

impl ErrorsTo502Layer {
    /// It has nothing to configure.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for ErrorsTo502Layer {
    type Service = ErrorsTo502<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ErrorsTo502::new(inner)
    }
}

/// Answers 502 where the inner service fails; see the [module](crate::errors_to_502).
#[derive(Debug)]
#[must_use]
pub struct ErrorsTo502<S> {
    inner: S,
    never_ready: Option<MemberError>,
}

impl<S> ErrorsTo502<S> {
    /// Around a service.
    pub fn new(inner: S) -> Self {
        Self { inner, never_ready: None }
    }
}

accessors! { ErrorsTo502 }

/// The clone of a service that failed to become ready may become so.
impl<S: Clone> Clone for ErrorsTo502<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<S, B, R> Service<Request<B>> for ErrorsTo502<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.never_ready.is_none()
            && let Err(error) = std::task::ready!(self.inner.poll_ready(cx))
        {
            self.never_ready = Some(MemberError::new(&*error.into()));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let caller = Caller::of(&parts);
        let kind = match &self.never_ready {
            Some(error) => Kind::Failed { error: Some(error.clone()) },
            None => Kind::Inner { future: self.inner.call(Request::from_parts(parts, body)) },
        };
        ResponseFuture { kind, caller }
    }
}

/// Why the inner service did not answer: a response extension for logs, with control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberError(Arc<str>);

impl MemberError {
    /// With its causes, but for those that the text before has at its end already.
    fn new(error: &(dyn Error + Send + Sync + 'static)) -> Self {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !chain.ends_with(&text) {
                chain.push_str(": ");
                chain.push_str(&text);
            }
            source = cause.source();
        }
        let mut text = String::new();
        for char in chain.chars() {
            if char.is_control() {
                text.extend(char.escape_default());
            } else {
                text.push(char);
            }
        }
        Self(text.into())
    }

    /// The error's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pin_project! {
    /// Response future of [`ErrorsTo502`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        kind: Kind<F>,
        caller: Caller,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<F> {
        Inner { #[pin] future: F },
        Failed { error: Option<MemberError> },
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<ResponseBody<R>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let refuse = |error| {
            let mut response = Refusal::from(RefusalKind::MemberFailed).into_response(*this.caller);
            response.extensions_mut().insert::<MemberError>(error);
            response
        };
        let response = match this.kind.project() {
            KindProj::Inner { future } => match std::task::ready!(future.poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(response.map(ResponseBody::inner))),
                Err(error) => {
                    let error = error.into();
                    #[cfg_attr(not(feature = "sticky-route"), expect(unused_mut, reason = "nobody decided"))]
                    let mut response = refuse(MemberError::new(&*error));
                    #[cfg(feature = "sticky-route")]
                    if let Some(error) = error.downcast_ref::<crate::sticky_route::Unanswered>() {
                        response.extensions_mut().insert(error.decision().clone());
                    }
                    response
                }
            },
            KindProj::Failed { error } => match error.take() {
                Some(error) => refuse(error),
                None => return Poll::Pending,
            },
        };
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt, service_fn};

    use super::*;

    /// Fails to become ready, and counts how often it was asked.
    #[derive(Clone, Default)]
    struct NeverReady {
        asked: Arc<std::sync::atomic::AtomicUsize>,
    }

    impl Service<Request<()>> for NeverReady {
        type Response = Response<()>;
        type Error = &'static str;
        type Future = std::future::Ready<Result<Response<()>, &'static str>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Poll::Ready(Err("the pool is closed"))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            panic!("called without being ready");
        }
    }

    #[tokio::test]
    async fn a_service_that_failed_to_become_ready_is_not_asked_again() {
        let inner = NeverReady::default();
        let mut service = ErrorsTo502::new(inner.clone());
        for _ in 0..3 {
            let response = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
            assert_eq!(response.status(), 502);
            assert_eq!(response.extensions().get::<MemberError>().unwrap().as_str(), "the pool is closed");
        }
        let asked = || inner.asked.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(asked(), 1);
        let Ok(response) = service.clone().oneshot(Request::new(())).await;
        assert_eq!((response.status().as_u16(), asked()), (502, 2), "a clone starts anew");
    }

    #[tokio::test]
    async fn grpc_in_its_own_way() {
        let service = ErrorsTo502::new(service_fn(|_: Request<()>| async { Err::<Response<()>, _>("gone") }));
        let request = Request::post("/").header("content-type", "application/grpc").body(()).unwrap();
        let Ok(response) = service.oneshot(request).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["grpc-status"]),
            (200, &"14".parse().unwrap())
        );
        assert_eq!(response.extensions().get::<Refusal>().unwrap().kind(), RefusalKind::MemberFailed);
    }

    #[tokio::test]
    async fn the_text_is_escaped_and_stays_inside() {
        let fails = |_: Request<()>| async { Err::<Response<()>, _>("bad\r\nline \u{1b}[31m é") };
        let Ok(response) = ErrorsTo502::new(service_fn(fails)).oneshot(Request::new(())).await;
        let error = response.extensions().get::<MemberError>().unwrap();
        assert_eq!(error.as_str(), "bad\\r\\nline \\u{1b}[31m é");
        assert!(response.headers().values().all(|value| !value.as_bytes().starts_with(b"bad")));
    }

    #[tokio::test]
    async fn the_causes_are_told_once() {
        #[derive(Debug)]
        struct Because(&'static str, Option<Box<Because>>);

        impl fmt::Display for Because {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }

        impl Error for Because {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                self.1.as_deref().map(|cause| cause as _)
            }
        }

        let fails = |_: Request<()>| async {
            let refused = Because("connection refused", None);
            let connect = Because("tcp: connection refused", Some(Box::new(refused)));
            Err::<Response<()>, _>(Because("client error", Some(Box::new(connect))))
        };
        let Ok(response) = ErrorsTo502::new(service_fn(fails)).oneshot(Request::new(())).await;
        let error = response.extensions().get::<MemberError>().unwrap();
        assert_eq!(error.as_str(), "client error: tcp: connection refused");
    }

    #[tokio::test]
    async fn an_answer_passes_untouched() {
        let answers = |_: Request<()>| async {
            Ok::<_, String>(Response::builder().status(418).header("x-page", "1").body(()).unwrap())
        };
        let Ok(response) = ErrorsTo502::new(service_fn(answers)).oneshot(Request::new(())).await;
        assert_eq!(response.status(), 418);
        assert_eq!(response.headers().len(), 1);
        assert!(response.extensions().is_empty());
    }
}
