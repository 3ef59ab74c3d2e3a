use tonic::service::interceptor::InterceptorLayer;
use tonic::{Request, Status, transport::Server};
use tower_proxied::{BehindProxyConfig, Identity, Proxied};

/// As a handler would read them, too.
fn tell(request: Request<()>) -> Result<Request<()>, Status> {
    let client = request.extensions().get::<Proxied>().and_then(Proxied::client);
    let user = request.extensions().get::<Identity>().and_then(Identity::user);
    println!("{client:?} is {:?}", user.map(|user| user.name()));
    Ok(request)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let behind_proxy = BehindProxyConfig::new()
        .set("trusted-proxies", "127.0.0.1")?
        .set("front", "haproxy")?
        .set("remote-user", "user-only")?;
    let (_, health) = tonic_health::server::health_reporter();
    let mut server = Server::builder().layer(behind_proxy.build()?).layer(InterceptorLayer::new(tell));
    Ok(server.add_service(health).serve("127.0.0.1:8000".parse()?).await?)
}
