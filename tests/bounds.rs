//! What users combine must compile: these tests are proofs by the type checker, and then run once.

mod common;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use common::{Stack, stack};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::layer::util::{Identity, Stack as Over};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::trace::TraceLayer;
use tower_proxied::proxy_remote_user::RequireGroupLayer;
use tower_proxied::sticky_route::RouteCookie;
use tower_proxied::trust::PeerAddrLayer;
use tower_proxied::{
    BehindProxyLayer, ErrorsTo502Layer, ForceHttpsBodyLayer, ForcedHostLayer, ForwardedFor,
    ForwardedForLayer, PeerAddr, ProxiedServiceBuilderExt, ProxyRemoteUserLayer, RouteSuffixLayer,
    ScriptNamePrefixLayer, SetForwardedLayer, SetRemoteUserLayer, StickyRoute, TrustedProxies, UpstreamLayer,
};

/// A redirect to its own number.
#[derive(Clone, Debug)]
struct Application(u8);

impl<B> Service<Request<B>> for Application {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Empty<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let to = format!("http://www.example.org/{}", self.0);
        ready(Ok(Response::builder().header("location", to).body(Empty::new()).unwrap()))
    }
}

/// Neither `Clone`, `Default` nor `Sync`.
struct OddBody(Cell<u8>);

impl Body for OddBody {
    type Data = Bytes;
    type Error = OddError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OddError>>> {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        Poll::Ready((left > 0).then(|| Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

/// Implements nothing.
struct OddError;

fn forwarded_for() -> ForwardedForLayer {
    ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback())
}

fn is_a_shared_service<T: Clone + Send + Sync + 'static>(_: &T) {}

fn fails_as<E, B, S: Service<Request<B>, Error = E>>(_: &S) {}

#[tokio::test]
async fn the_stack_asks_nothing_of_bodies_and_keeps_the_error() {
    let inner =
        service_fn(|_: Request<OddBody>| async { Ok::<_, OddError>(Response::new(OddBody(Cell::new(2)))) });
    let service = stack().layer(inner);
    fails_as::<OddError, OddBody, _>(&service);
    let mut request = Request::builder().uri("/webapps/").body(OddBody(Cell::new(0))).unwrap();
    request.extensions_mut().insert(PeerAddr::Unix);
    let response = service.oneshot(request).await.ok().unwrap();
    assert_eq!(response.status(), 200);
    let mut body = Box::pin(response.into_body());
    let mut chunks = 0;
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        chunks += usize::from(frame.is_data());
    }
    assert_eq!(chunks, 2);
}

#[test]
fn the_stack_is_clone_send_sync() {
    fn is_all<S>(service: &S)
    where
        S: Service<Request<Empty<Bytes>>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        is_a_shared_service(service);
    }
    let inner = service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    is_all(&stack().layer(inner));
}

#[test]
fn directly_over_a_hyper_client_and_outside_of_trace() {
    let client: Client<HttpConnector, Incoming> = Client::builder(TokioExecutor::new()).build_http();
    fn is_service<B, R, S: Service<Request<B>, Response = Response<R>>>(_: &S)
    where
        R: Body<Data = Bytes>,
    {
    }
    let over_client: ForwardedFor<_> = forwarded_for().layer(client.clone());
    is_service::<Incoming, _, _>(&over_client);
    is_a_shared_service(&over_client);
    let over_trace = ServiceBuilder::new().layer(stack()).layer(TraceLayer::new_for_http()).service(client);
    is_service::<Incoming, _, _>(&over_trace);
}

#[test]
fn in_axum_inside_and_outside_of_a_router() {
    let router = || Router::<()>::new().route("/", get(|| async { "home" }));
    let _: Router = router().layer(TraceLayer::new_for_http()).layer(forwarded_for());
    let _: Router = router().layer(stack());
    let outside: Router =
        Router::new().fallback_service(ServiceBuilder::new().layer(stack()).service(router()));
    let _ = outside.into_make_service_with_connect_info::<PeerAddr>();
}

#[test]
fn in_tonic_outside_of_trace() {
    let _ = tonic::transport::Server::builder()
        .layer(ServiceBuilder::new().layer(stack()).layer(TraceLayer::new_for_grpc()).into_inner())
        .add_service(tonic_health::server::health_reporter().1);
}

/// Each layer has an off switch of the same type, and its service gives back the one within. Off, the response stays as
/// it is; what a layer that is off takes out of a request, its own tests say.
#[tokio::test]
async fn each_layer_can_be_off_and_each_service_gives_back_the_one_within() {
    macro_rules! each {
        ($($Layer:ident)+) => {$(
            let mut service = $Layer::disabled().layer(Application(1));
            assert_eq!(service.get_ref().0, 1);
            service.get_mut().0 = 2;
            assert_eq!(service.clone().into_inner().0, 2);
            let response = service.oneshot(Request::new(())).await.unwrap();
            assert_eq!(response.headers()["location"], "http://www.example.org/2", stringify!($Layer));
            assert_eq!(response.headers().len(), 1, stringify!($Layer));
            assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
        )+};
    }
    each! {
        BehindProxyLayer ForceHttpsBodyLayer ForcedHostLayer ForwardedForLayer ProxyRemoteUserLayer RequireGroupLayer
        RouteSuffixLayer ScriptNamePrefixLayer SetForwardedLayer SetRemoteUserLayer UpstreamLayer
    }
}

#[test]
fn services_without_an_off_switch_give_back_the_one_within_too() {
    let mut with_peer = PeerAddr::layer(PeerAddr::Unix).layer(Application(1));
    with_peer.get_mut().0 += with_peer.get_ref().0;
    assert_eq!(with_peer.into_inner().0, 2);
    let mut errors = ErrorsTo502Layer::new().layer(Application(1));
    errors.get_mut().0 += errors.get_ref().0;
    assert_eq!(errors.into_inner().0, 2);
    let pool =
        StickyRoute::builder("shop").upstream("http-1", "http://10.0.0.1:8080").cookie(RouteCookie::plain());
    let mut pool = pool.into_layer().unwrap().layer(Application(1));
    pool.get_mut().0 += pool.get_ref().0;
    let clone = pool.clone();
    assert_eq!(clone.into_inner().0, 2);
    assert_eq!(pool.errors_to_502().into_inner().into_inner().into_inner().0, 2);
}

#[test]
fn layers_are_values() {
    is_a_shared_service(&stack());
    let _: Stack = stack().clone();
}

#[test]
fn the_methods_of_service_builder_are_its_layers() {
    fn is<L>(_: ServiceBuilder<Over<L, Identity>>) {}
    let builder = ServiceBuilder::new;
    is::<PeerAddrLayer>(builder().peer_addr(PeerAddr::Unix));
    is::<BehindProxyLayer>(builder().behind_proxy(BehindProxyLayer::disabled()));
    is::<RequireGroupLayer>(builder().require_group(RequireGroupLayer::disabled()));
    let by_methods: Stack = builder()
        .forwarded_for(forwarded_for())
        .proxy_remote_user(ProxyRemoteUserLayer::disabled())
        .forced_host(ForcedHostLayer::disabled())
        .script_name_prefix(ScriptNamePrefixLayer::disabled())
        .force_https_body(ForceHttpsBodyLayer::disabled())
        .into_inner();
    is_a_shared_service(&by_methods);
}
