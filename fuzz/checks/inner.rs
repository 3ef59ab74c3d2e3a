//! What the inner service sees of a request.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, Request, Response, StatusCode, request};
use tower::{Layer, Service};
use tower_proxied::{PeerAddr, Refusal, RefusalKind};

/// Sends a request of this peer with these lines through the layer. Gives what comes out on the inner side, or the
/// refusal.
pub(crate) fn inner<L, B>(layer: &L, peer: PeerAddr, headers: HeaderMap) -> Result<request::Parts, Refused>
where
    L: Layer<Inner>,
    L::Service: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let seen = Inner::default();
    let mut service = layer.layer(seen.clone());
    let mut request = Request::new(());
    *request.headers_mut() = headers;
    request.extensions_mut().insert(peer);
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut context), Poll::Ready(Ok(()))));
    let Poll::Ready(answer) = pin!(service.call(request)).poll(&mut context) else {
        unreachable!("nothing here waits")
    };
    let answer = answer.unwrap_or_else(|never| match never {});
    let seen = seen.0.lock().unwrap().take();
    seen.ok_or_else(|| {
        let refusal =
            answer.extensions().get::<Refusal>().expect("who does not ask the inner service refuses");
        Refused { status: answer.status(), kind: refusal.kind() }
    })
}

/// The status of a refusal, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) kind: RefusalKind,
}

/// The innermost service: keeps the request that it got.
#[derive(Clone, Default)]
pub(crate) struct Inner(Arc<Mutex<Option<request::Parts>>>);

impl Service<Request<()>> for Inner {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        *self.0.lock().unwrap() = Some(request.into_parts().0);
        ready(Ok(Response::new(())))
    }
}
