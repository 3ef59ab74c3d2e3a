use http::{Request, Response};
use tower_layer::Layer;
use tower_proxied::BehindProxyLayer;
use tower_service::Service;

fn serves<S: Service<Request<()>>>(_: S) {}

fn over<S: Service<Request<()>, Response = Response<()>>>(inner: S) {
    serves(BehindProxyLayer::disabled().layer(inner)); //~ E0277
}

fn main() {}
