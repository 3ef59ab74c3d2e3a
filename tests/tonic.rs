//! The stack in a tonic server, over a real socket.

mod common;
#[path = "../examples/support/tls.rs"]
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::stack_without_prefix;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower_proxied::proxy_remote_user::RequireGroupLayer;
use tower_proxied::{Identity, Proxied};

/// Answers with what the layers left, in the response's metadata.
struct Seen;

#[tonic::async_trait]
impl Health for Seen {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let client = request.extensions().get::<Proxied>().and_then(Proxied::client);
        let user = request
            .extensions()
            .get::<Identity>()
            .and_then(Identity::user)
            .map(|user| user.name().to_owned());
        let mut response = Response::new(HealthCheckResponse { status: 1 });
        let seen = format!("{client:?} {user:?}").parse().unwrap();
        response.metadata_mut().insert("seen", seen);
        Ok(response)
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}

async fn serve() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().layer(stack_without_prefix()).add_service(HealthServer::new(Seen));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn check(metadata: &[(&'static str, &'static str)]) -> Result<Response<HealthCheckResponse>, Status> {
    let endpoint = Endpoint::try_from(format!("http://{}", serve().await)).unwrap();
    let mut client = HealthClient::new(endpoint.connect().await.unwrap());
    let mut request = Request::new(HealthCheckRequest { service: String::new() });
    for (name, value) in metadata {
        request.metadata_mut().append(*name, MetadataValue::from_static(value));
    }
    tokio::time::timeout(Duration::from_secs(10), client.check(request)).await.unwrap()
}

#[tokio::test]
async fn handlers_see_client_and_user() {
    let lines =
        [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.5"), ("remote-user", "alice")];
    let response = check(&lines).await.unwrap();
    assert_eq!(response.metadata().get("seen").unwrap(), "Some(203.0.113.5) Some(\"alice\")");
}

#[tokio::test]
async fn refusals_are_grpc_statuses() {
    let status = check(&[("x-forwarded-for", "localhost")]).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("client address malformed"), "{status}");

    let lines = [("x-forwarded-for", "203.0.113.5"), ("remote-user", "alice"), ("remote-user", "admin")];
    assert_eq!(check(&lines).await.unwrap_err().code(), Code::InvalidArgument);
}

/// TLS that the server itself ends: tonic wraps the connection's information once more.
#[tokio::test]
async fn over_tls_the_peer_is_known_too() {
    let signed = tls::SelfSigned::new(&["127.0.0.1"]).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = signed.acceptor();
    let incoming = TcpListenerStream::new(listener).then(move |accepted| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(accepted?).await }
    });
    let server = Server::builder().layer(stack_without_prefix()).add_service(HealthServer::new(Seen));
    tokio::spawn(server.serve_with_incoming(incoming));

    let connector = TlsConnector::from(Arc::new(signed.client_config(&["h2"]).unwrap()));
    let connect = tower::service_fn(move |_: http::Uri| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let stream = connector.connect(ServerName::from(address.ip()), stream).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(endpoint.connect_with_connector(connect).await.unwrap());
    let mut request = Request::new(HealthCheckRequest { service: String::new() });
    request.metadata_mut().append("x-forwarded-for", MetadataValue::from_static("203.0.113.5"));
    let response =
        tokio::time::timeout(Duration::from_secs(10), client.check(request)).await.unwrap().unwrap();
    assert_eq!(response.metadata().get("seen").unwrap(), "Some(203.0.113.5) None");
}

#[tokio::test]
async fn groups_guard_a_server() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .layer(stack_without_prefix())
        .layer(RequireGroupLayer::group("ops"))
        .add_service(HealthServer::new(Seen));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(endpoint.connect().await.unwrap());
    let alice = ("remote-user", "alice");
    for (metadata, code) in [
        (&[][..], Some(Code::Unauthenticated)),
        (&[alice, ("remote-groups", "dev")], Some(Code::PermissionDenied)),
        (&[alice, ("remote-groups", "dev,ops")], None),
    ] {
        let mut request = Request::new(HealthCheckRequest { service: String::new() });
        for (name, value) in metadata {
            request.metadata_mut().append(*name, MetadataValue::from_static(value));
        }
        request.metadata_mut().append("x-forwarded-for", MetadataValue::from_static("203.0.113.5"));
        let answer = tokio::time::timeout(Duration::from_secs(10), client.check(request)).await.unwrap();
        assert_eq!(answer.err().map(|status| status.code()), code, "{metadata:?}");
    }
}
