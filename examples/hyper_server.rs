//! The application side around a bare hyper service: `cargo run --example hyper_server`, and then
//! `curl -H 'X-Forwarded-For: 192.0.2.7' -H 'Remote-User: alice' http://127.0.0.1:8001/webapps/hello`.
//!
//! hyper says nobody who the peer is: `PeerAddr::layer` goes around the service of each connection. With `--once` it
//! asks itself, checks the answers, and ends.

#[path = "support/ask.rs"]
mod ask;

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{Layer, ServiceBuilder, service_fn};
use tower_proxied::proxy_remote_user::Preset;
use tower_proxied::{
    BehindProxyLayer, ForcedHostLayer, ForwardedForLayer, Identity, PathPrefix, PeerAddr, Proof, Proxied,
    ProxyRemoteUserLayer, PublicUrl, ScriptNamePrefixLayer, TrustedProxies,
};

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let extensions = request.extensions();
    let client = extensions.get::<Proxied>().and_then(Proxied::client);
    let user = extensions.get::<Identity>().and_then(Identity::user).map(|user| user.name());
    let url = extensions.get::<PublicUrl>().map(ToString::to_string);
    Ok(Response::new(Full::from(format!("{client:?} {user:?} {url:?} {}\n", request.uri().path()))))
}

/// The proxy runs on this machine, keeps the prefix `/webapps`, and writes `X-Forwarded-For` and `Remote-User`.
fn behind_proxy() -> Result<BehindProxyLayer, Box<dyn Error + Send + Sync>> {
    let proxies = TrustedProxies::loopback();
    let user = ProxyRemoteUserLayer::new(Proof::peer(proxies.clone())).preset(Preset::UserOnly).build()?;
    Ok(BehindProxyLayer::new(ForwardedForLayer::x_forwarded_for(proxies))
        .proxy_remote_user(user)
        .forced_host(ForcedHostLayer::fixed(PublicUrl::parse("https://www.example.org")?))
        .script_name_prefix(ScriptNamePrefixLayer::proxy_keeps(PathPrefix::parse("/webapps")?)))
}

async fn serve(listener: TcpListener, behind_proxy: BehindProxyLayer) {
    let service = ServiceBuilder::new().layer(behind_proxy).service(service_fn(hello));
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("cannot accept: {error}");
                continue;
            }
        };
        let service = TowerToHyperService::new(PeerAddr::layer(peer).layer(service.clone()));
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = server.serve_connection(TokioIo::new(socket), service).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    if !ask::is_once() {
        let listener = TcpListener::bind("127.0.0.1:8001").await?;
        println!("http://{}/webapps/hello", listener.local_addr()?);
        serve(listener, behind_proxy()?).await;
        return Ok(());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    tokio::spawn(serve(listener, behind_proxy()?));
    let proxied = ["Host: app", "X-Forwarded-For: 6.6.6.6, 192.0.2.7", "Remote-User: alice"];
    let answer = ask::ask(server, "/webapps/hello", &proxied).await?;
    let told = "Some(192.0.2.7) Some(\"alice\") Some(\"https://www.example.org/webapps\") /hello\n";
    assert!(answer.ends_with(told), "{answer}");
    print!("{told}");
    let answer = ask::ask(server, "/hello", &proxied).await?;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("proxy_strips"), "{answer}");
    Ok(())
}
