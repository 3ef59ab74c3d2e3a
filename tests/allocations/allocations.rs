//! What the layers take from the heap: nothing to decide, and one boxed value to tell it.

mod counting;
mod forwarded_for;
mod proxy_remote_user;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{HeaderName, HeaderValue, Request, Response, header};
use tower::{Layer, Service};
use tower_proxied::PeerAddr;
use tower_proxied::wire::name;

use self::counting::{Taken, taken};

const PROXY: PeerAddr = PeerAddr::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 4711));
const STRANGER: PeerAddr = PeerAddr::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66)), 4711));

/// Names and values own their bytes, as those that a server has read.
fn request(lines: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

/// What the layer takes for a request, the status of the answer, and the request that it let through.
fn call<L, B>(layer: &L, request: Request<()>) -> (Taken, u16, Option<Request<()>>)
where
    L: Layer<Keep, Service: Service<Request<()>, Response = Response<B>, Error = Infallible>>,
{
    // What is compiled once in a process is compiled.
    let _ = (name::is_identity(&header::HOST), name::is_forwarding(&header::HOST));
    let kept = Rc::new(Cell::new(None));
    let mut service = layer.layer(Keep(kept.clone()));
    let (taken, answer) = taken(|| {
        let mut context = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut context).is_ready());
        pin!(service.call(request)).poll(&mut context)
    });
    let Poll::Ready(Ok(answer)) = answer else { panic!("no answer") };
    (taken, answer.status().as_u16(), kept.take())
}

/// The service within: it keeps the request.
struct Keep(Rc<Cell<Option<Request<()>>>>);

impl Service<Request<()>> for Keep {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        self.0.set(Some(request));
        ready(Ok(Response::new(())))
    }
}
