use axum::{Router, routing::get};
use tower_proxied::{BehindProxyConfig, PeerAddr, Proxied, PublicUrl, RemoteUser};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let home = async |proxied: Proxied, user: Option<RemoteUser>, url: PublicUrl| {
        format!("{:?} is {:?} at {url}\n", proxied.client(), user.as_ref().map(|user| user.name()))
    };
    let behind_proxy = BehindProxyConfig::new()
        .set("trusted-proxies", "127.0.0.1")?
        .set("front", "nginx")?
        .set("remote-user", "user-only")?
        .set("public-url", "https://www.example.org")?
        .set("prefix", "/webapps")?;
    let app = Router::new().route("/", get(home));
    let app = Router::new().fallback_service(app).layer(behind_proxy.build()?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<PeerAddr>()).await?)
}
