//! A rate limit for each client, behind a proxy: `cargo run --example rate_limit`, and then, again and again,
//! `curl -i -H 'X-Forwarded-For: 192.0.2.7' http://127.0.0.1:8001/`.
//!
//! Without the key of this example tower_governor would count by the peer, which is the proxy for everybody, or by the
//! first address of `X-Forwarded-For`, which the client writes itself. With `--once` it asks itself, checks the answers,
//! and ends.

#[path = "support/ask.rs"]
mod ask;

use std::error::Error;
use std::net::{IpAddr, Ipv6Addr};

use axum::Router;
use axum::routing::get;
use http::Request;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};
use tower_proxied::{ClientIp, ForwardedForLayer, PeerAddr, Proxied, TrustedProxies};

/// Counts by the client that `ForwardedFor` found. Whoever has an IPv6 address usually has a `/64` of them: all of it is
/// one client.
#[derive(Clone)]
struct ByClient;

impl KeyExtractor for ByClient {
    type Key = Option<IpAddr>;

    /// Requests without a client, such as health probes of the proxy itself, share one limit.
    fn extract<T>(&self, request: &Request<T>) -> Result<Self::Key, GovernorError> {
        let proxied = request.extensions().get::<Proxied>().ok_or(GovernorError::UnableToExtractKey)?;
        Ok(proxied.client().map(|client| match client {
            IpAddr::V4(_) => client,
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        }))
    }
}

/// Two requests at once, and one more for each minute.
fn app() -> Result<Router, Box<dyn Error + Send + Sync>> {
    let limit =
        GovernorConfigBuilder::default().key_extractor(ByClient).per_second(60).burst_size(2).finish();
    let limit = GovernorLayer::new(limit.ok_or("neither the period nor the burst may be zero")?);
    let forwarded_for = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback());
    Ok(Router::new()
        .route("/", get(async |ClientIp(client): ClientIp| format!("hello {client}\n")))
        .layer(ServiceBuilder::new().layer(forwarded_for).layer(limit)))
}

async fn serve(listener: TcpListener, app: Router) -> std::io::Result<()> {
    axum::serve(listener, app.into_make_service_with_connect_info::<PeerAddr>()).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    if !ask::is_once() {
        let listener = TcpListener::bind("127.0.0.1:8001").await?;
        println!("http://{}/", listener.local_addr()?);
        return Ok(serve(listener, app()?).await?);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    tokio::spawn(serve(listener, app()?));
    for (clients, status) in [
        ("192.0.2.7", 200),
        ("192.0.2.7", 200),
        ("192.0.2.7", 429),
        // What a client writes to the left makes no other client of it.
        ("6.6.6.6, 192.0.2.7", 429),
        ("192.0.2.8", 200),
        ("2001:db8:1:2::a", 200),
        ("2001:db8:1:2::b", 200),
        ("2001:db8:1:2::c", 429),
        ("2001:db8:1:3::a", 200),
    ] {
        let answer = ask::ask(server, "/", &["Host: app", &format!("X-Forwarded-For: {clients}")]).await?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{clients}: {answer}");
        println!("{clients}: {status}");
    }
    Ok(())
}
