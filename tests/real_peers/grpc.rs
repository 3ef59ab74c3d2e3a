//! A gRPC client of tonic, nginx or HAProxy, and a gRPC server of tonic with the layers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::HeaderName;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint, Server as GrpcServer};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::ServiceBuilder;
use tower_proxied::forced_host::AllowedHosts;
use tower_proxied::forwarded_for::Front;
use tower_proxied::{
    ForcedHostLayer, ForwardedForLayer, Identity, Proof, Proxied, ProxyRemoteUserLayer, PublicUrl, Secret,
    TrustedProxies,
};

use crate::block_on;
use crate::fixture::are_installed;
use crate::fronts::{SECRET, Server, Started};

const ALICE: (&str, &str) = ("authorization", "Basic YWxpY2U6d29uZGVybGFuZA==");

/// Answers with what the layers left, in the response's metadata.
struct Seen;

fn seen<T>(request: &Request<T>) -> MetadataValue<Ascii> {
    let extensions = request.extensions();
    let client = extensions.get::<Proxied>().and_then(Proxied::client).map(|client| client.to_string());
    let user = extensions.get::<Identity>().and_then(Identity::user).map(|user| user.name().to_owned());
    let public = extensions.get::<PublicUrl>().map(PublicUrl::to_string);
    let password = request.metadata().contains_key("authorization");
    format!("{client:?} {user:?} {public:?} {password}").parse().unwrap()
}

#[tonic::async_trait]
impl Health for Seen {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let mut response = Response::new(HealthCheckResponse { status: 1 });
        response.metadata_mut().insert("seen", seen(&request));
        Ok(response)
    }

    type WatchStream = tokio_stream::Iter<std::array::IntoIter<Result<HealthCheckResponse, Status>, 3>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let answers = [1, 2, 1].map(|status| Ok(HealthCheckResponse { status }));
        let mut response = Response::new(tokio_stream::iter(answers));
        response.metadata_mut().insert("seen", seen(&request));
        Ok(response)
    }
}

async fn member(front: Front) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    // Not the loopback: the client has an address there, too.
    let trusted = TrustedProxies::parse(["127.0.0.1"]).unwrap();
    let secret =
        Proof::shared_secret(HeaderName::from_static("x-proxy-secret"), [Secret::parse(SECRET).unwrap()]);
    let layers = ServiceBuilder::new()
        .layer(ForwardedForLayer::x_forwarded_for(trusted.clone()).claims(front.into()))
        .layer(ProxyRemoteUserLayer::new(Proof::peer(trusted) & secret).build().unwrap())
        .layer(ForcedHostLayer::allowed(AllowedHosts::from_static(&["www.example.com"])).use_proxied())
        .into_inner();
    let server = GrpcServer::builder().layer(layers).add_service(HealthServer::new(Seen));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn client(front: SocketAddr, host: &str) -> HealthClient<Channel> {
    let endpoint = Endpoint::try_from(format!("http://{front}")).unwrap();
    let endpoint = endpoint
        .origin(format!("http://{host}").parse().unwrap())
        .local_address(Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))))
        .timeout(Duration::from_secs(10));
    HealthClient::new(endpoint.connect().await.unwrap())
}

fn request(metadata: &[(&'static str, &'static str)]) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest { service: String::new() });
    for (name, value) in metadata {
        request.metadata_mut().append(*name, MetadataValue::from_static(value));
    }
    request
}

async fn calls_through(server: Server, front: Front) {
    let members = [member(front).await, member(front).await];
    let started = Started::plain(server, &format!("examples/conf/{}_grpc.conf", server.name()), members);
    let mut client_of = client(started.http, "www.example.com").await;
    let forged = [
        ("remote-user", "admin"),
        ("remote_user", "admin"),
        ("x-proxy-secret", "guess-guess-guess"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=6.6.6.6"),
    ];
    let of_alice = "Some(\"127.0.0.2\") Some(\"alice\") Some(\"http://www.example.com\") false";
    let of_nobody = "Some(\"127.0.0.2\") None Some(\"http://www.example.com\") false";
    for metadata in [vec![ALICE], [&[ALICE], &forged[..]].concat()] {
        for _ in 0..2 {
            let answer = client_of.check(request(&metadata)).await.unwrap();
            assert_eq!(answer.metadata().get("seen").unwrap(), of_alice, "{server:?} {metadata:?}");
        }
    }
    for metadata in [&[][..], &forged] {
        let answer = client_of.watch(request(metadata)).await.unwrap();
        assert_eq!(answer.metadata().get("seen").unwrap(), of_nobody, "{server:?} {metadata:?}");
        let statuses: Vec<_> = answer.into_inner().map(|answer| answer.unwrap().status).collect().await;
        assert_eq!(statuses, [1, 2, 1]);
    }
    // The front end refuses.
    for metadata in [&[][..], &forged] {
        let status = client_of.check(request(metadata)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{server:?} {metadata:?}: {status}");
    }
    // The layers refuse.
    let status = client(started.http, "evil.example").await.watch(request(&[])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{server:?}: {status}");
    println!("gRPC through {}: client, user and URL are right; {status:?}", server.program());
}

#[test]
#[ignore = "needs nginx"]
fn grpc_through_nginx() {
    if are_installed(&["nginx"]) {
        block_on(calls_through(Server::Nginx, Front::Nginx));
    }
}

#[test]
#[ignore = "needs haproxy"]
fn grpc_through_haproxy() {
    if are_installed(&["haproxy"]) {
        block_on(calls_through(Server::HaProxy, Front::HaProxy));
    }
}
