use http::{Request, Response};
use tower_proxied::StickyRoute;
use tower_proxied::sticky_route::RequestBody;
use tower_service::Service;

fn serves<S: Service<Request<()>>>(_: S) {}

fn balanced<M>(pool: StickyRoute<M>)
where
    M: Service<Request<RequestBody<()>>, Response = Response<()>, Error = ()>,
{
    serves(pool); //~ E0277
}

fn main() {}
