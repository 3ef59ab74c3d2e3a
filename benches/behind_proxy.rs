//! What the composite costs beside the stack made by hand, and beside no layer at all, in the same run.
//!
//! `cargo bench --bench behind_proxy`. All contenders are timed in turn, many times; the table shows medians.

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder};
use tower_proxied::forwarded_for::Front;
use tower_proxied::{
    BehindProxyLayer, ForceHttpsBodyLayer, ForcedHostLayer, ForwardedForLayer, PathPrefix, PeerAddr, Proof,
    ProxyRemoteUserLayer, PublicUrl, ScriptNamePrefixLayer, TrustedProxies,
};

use self::support::{interleaved, is_wanted};

#[derive(Clone, Debug)]
struct Application;

impl<B> Service<Request<B>> for Application {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(request.headers());
        ready(Ok(Response::new(Full::from("page"))))
    }
}

fn main() {
    if !is_wanted() {
        return;
    }
    let trusted = TrustedProxies::parse(["10.0.0.0/8"]).unwrap();
    let forwarded_for = ForwardedForLayer::x_forwarded_for(trusted.clone()).front(Front::Nginx);
    let user = ProxyRemoteUserLayer::new(Proof::peer(trusted)).build().unwrap();
    let host = ForcedHostLayer::fixed(PublicUrl::from_static("https://www.example.org"));
    let prefix = ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps"));
    let composite = BehindProxyLayer::new(forwarded_for.clone())
        .proxy_remote_user(user.clone())
        .forced_host(host.clone())
        .script_name_prefix(prefix.clone())
        .force_https_body(ForceHttpsBodyLayer::new())
        .layer(Application);
    let by_hand = ServiceBuilder::new()
        .layer(forwarded_for)
        .layer(user)
        .layer(host)
        .layer(prefix)
        .layer(ForceHttpsBodyLayer::new())
        .service(Application);

    let [bare, flat, stacked] = interleaved([&|| ask(&Application), &|| ask(&composite), &|| ask(&by_hand)]);
    println!("{:24} {:>12} {:>24} {:>24}", "", "ns", "name of the service", "name of its future");
    row("no layer", bare, &Application);
    row("composite", flat, &composite);
    row("stack made by hand", stacked, &by_hand);
    println!("composite / stack: {:.2}", (flat - bare) / (stacked - bare));
}

fn row<S: Service<Request<()>>>(name: &str, time: f64, _: &S) {
    let (service, future) = (std::any::type_name::<S>().len(), std::any::type_name::<S::Future>().len());
    println!("{name:24} {time:>12.0} {service:>18} bytes {future:>18} bytes");
}

/// One request as it comes from a proxy, from its building to its response, which is dropped.
fn ask<S>(service: &S)
where
    S: Service<Request<()>, Error = Infallible> + Clone,
{
    let mut request = Request::get("/webapps/page")
        .header("host", "www.example.org")
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "www.example.org")
        .header("remote-user", "alice")
        .header("accept", "*/*")
        .body(())
        .unwrap();
    request.extensions_mut().insert(PeerAddr::Tcp(([10, 0, 0, 5], 4711).into()));
    let future = std::pin::pin!(service.clone().call(black_box(request)));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => drop(black_box(response)),
        Poll::Pending => panic!("the application answers at once"),
    }
}
