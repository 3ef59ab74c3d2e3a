use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::{server::conn::auto::Builder, service::TowerToHyperService};
use tower::ServiceBuilder;
use tower_proxied::{BehindProxyConfig, Identity, PeerAddr, Proxied, PublicUrl};

async fn home(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let client = request.extensions().get::<Proxied>().and_then(Proxied::client);
    let user = request.extensions().get::<Identity>().and_then(Identity::user).map(|user| user.name());
    let url = request.extensions().get::<PublicUrl>().map(PublicUrl::to_string);
    Ok(Response::new(Full::from(format!("{client:?} is {user:?} at {url:?}\n"))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let behind_proxy = BehindProxyConfig::new()
        .set("trusted-proxies", "127.0.0.1")?
        .set("front", "nginx")?
        .set("remote-user", "user-only")?
        .set("public-url", "https://www.example.org")?
        .build()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        let layers = ServiceBuilder::new().layer(PeerAddr::layer(peer)).layer(behind_proxy.clone());
        let service = TowerToHyperService::new(layers.service_fn(home));
        tokio::spawn(async move {
            let served =
                Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            served.unwrap_or_else(|error| eprintln!("{peer}: {error}"));
        });
    }
}
