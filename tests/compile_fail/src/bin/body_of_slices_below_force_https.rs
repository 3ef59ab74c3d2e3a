use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::{Body, Frame};
use tower_layer::Layer;
use tower_proxied::ForceHttpsBodyLayer;
use tower_service::Service;

struct Slices;

impl Body for Slices {
    type Data = &'static [u8];
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<&'static [u8]>, Infallible>>> {
        Poll::Ready(None)
    }
}

fn serves<S: Service<Request<()>>>(_: S) {}

fn over<S: Service<Request<()>, Response = Response<Slices>>>(inner: S) {
    serves(ForceHttpsBodyLayer::new().layer(inner)); //~ E0277
}

fn main() {}
