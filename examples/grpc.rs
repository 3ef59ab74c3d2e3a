//! A tonic server behind a proxy, and a client that plays the proxy: `cargo run --example grpc`.
//!
//! The service is gRPC's own health check, whose code comes with tonic-health: nothing is generated. Handlers and
//! interceptors read the same extensions; refusals are gRPC statuses. With `--once` it asks itself, checks the answers,
//! and ends.

#[path = "support/ask.rs"]
mod ask;

use std::error::Error;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower_proxied::forwarded_for::OnNoClient;
use tower_proxied::proxy_remote_user::Preset;
use tower_proxied::{
    BehindProxyLayer, ForwardedForLayer, Identity, Proof, Proxied, ProxyRemoteUserLayer, TrustedProxies,
};

/// Healthy for those who are logged in.
struct Application;

#[tonic::async_trait]
impl Health for Application {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let client = request.extensions().get::<Proxied>().and_then(Proxied::client);
        let user = request.extensions().get::<Identity>().and_then(Identity::user);
        println!("{client:?} is {:?}", user.map(|user| user.name()));
        let mut response = Response::new(HealthCheckResponse { status: 1 });
        if let Some(client) = client.and_then(|client| client.to_string().parse().ok()) {
            response.metadata_mut().insert("client", client);
        }
        Ok(response)
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("ask again"))
    }
}

/// An interceptor of tonic: it runs inside of the layers.
fn only_users(request: Request<()>) -> Result<Request<()>, Status> {
    match request.extensions().get::<Identity>() {
        Some(Identity::User(_)) => Ok(request),
        Some(Identity::Anonymous(why)) => Err(Status::unauthenticated(why.to_string())),
        None => Err(Status::internal("ProxyRemoteUserLayer is missing")),
    }
}

async fn serve(listener: TcpListener) -> Result<(), Box<dyn Error + Send + Sync>> {
    let proxies = TrustedProxies::loopback();
    let user = ProxyRemoteUserLayer::new(Proof::peer(proxies.clone())).preset(Preset::UserOnly).build()?;
    let forwarded_for = ForwardedForLayer::x_forwarded_for(proxies).on_missing(OnNoClient::Refuse);
    Server::builder()
        .layer(BehindProxyLayer::new(forwarded_for).proxy_remote_user(user))
        .add_service(HealthServer::with_interceptor(Application, only_users))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

/// What the application told of the client, asked with these lines.
async fn check(server: SocketAddr, lines: &[(&'static str, &str)]) -> Result<String, Status> {
    let endpoint =
        Endpoint::try_from(format!("http://{server}")).map_err(|error| Status::from_error(error.into()));
    let channel = endpoint?.connect().await.map_err(|error| Status::from_error(error.into()))?;
    let mut request = Request::new(HealthCheckRequest::default());
    for (name, value) in lines {
        let value = value.parse().map_err(|_| Status::internal("not ASCII"))?;
        request.metadata_mut().append(*name, value);
    }
    let response = HealthClient::new(channel).check(request).await?;
    let client = response.metadata().get("client").and_then(|client| client.to_str().ok());
    Ok(client.unwrap_or_default().to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    if !ask::is_once() {
        let listener = TcpListener::bind("127.0.0.1:8001").await?;
        println!("gRPC on {}", listener.local_addr()?);
        return serve(listener).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    tokio::spawn(serve(listener));
    let client = ("x-forwarded-for", "6.6.6.6, 192.0.2.7");
    assert_eq!(check(server, &[client, ("remote-user", "alice")]).await?, "192.0.2.7");

    let code =
        async |lines: &[(&'static str, &str)]| check(server, lines).await.map_err(|status| status.code());
    assert_eq!(code(&[client]).await, Err(Code::Unauthenticated));
    let twice = [client, ("remote-user", "alice"), ("remote-user", "admin")];
    assert_eq!(code(&twice).await, Err(Code::InvalidArgument), "who is it?");
    let refused = check(server, &[("remote-user", "alice")]).await;
    assert!(refused.is_err_and(|status| status.message().starts_with("client address missing")));
    Ok(())
}
