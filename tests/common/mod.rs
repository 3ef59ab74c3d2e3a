//! The application-side stack as users put it together, and small helpers around sockets.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::layer::util::{Identity, Stack as Over};
use tower::{Layer, Service, ServiceBuilder};
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::proxy_remote_user::Proof;
use tower_proxied::{
    ForceHttpsBodyLayer, ForcedHostLayer, ForwardedForLayer, PathPrefix, PeerAddr, ProxyRemoteUserLayer,
    PublicUrl, ScriptNamePrefixLayer, TrustedProxies,
};

pub(crate) type Stack = Over<
    ForceHttpsBodyLayer,
    Over<
        ScriptNamePrefixLayer,
        Over<ForcedHostLayer, Over<ProxyRemoteUserLayer, Over<ForwardedForLayer, Identity>>>,
    >,
>;

/// Behind a proxy on the loopback that keeps the prefix `/webapps`.
pub(crate) fn stack() -> Stack {
    stack_of(ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps")))
}

/// The same for gRPC, whose paths have no prefix.
pub(crate) fn stack_without_prefix() -> Stack {
    stack_of(ScriptNamePrefixLayer::disabled())
}

fn stack_of(script_name: ScriptNamePrefixLayer) -> Stack {
    let trusted = TrustedProxies::loopback();
    ServiceBuilder::new()
        .layer(
            ForwardedForLayer::x_forwarded_for(trusted.clone())
                .claims(Claims::none().scheme(Written::Set.optional())),
        )
        .layer(ProxyRemoteUserLayer::new(Proof::peer(trusted)).build().unwrap())
        .layer(ForcedHostLayer::fixed(PublicUrl::parse("https://www.example.org").unwrap()))
        .layer(script_name)
        .layer(ForceHttpsBodyLayer::new())
        .into_inner()
}

/// Serves connections with hyper until the test ends, each with its peer's address.
pub(crate) async fn serve<S, R>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = TowerToHyperService::new(PeerAddr::layer(peer).layer(service.clone()));
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// Sends lines as they are, and gives back all that the server answers.
pub(crate) async fn exchange(address: SocketAddr, lines: &[&str]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}
