//! Logs that name the client, the user and the public URL: `cargo run --example traced`, and then
//! `curl -H 'X-Forwarded-For: 192.0.2.7' -H 'Remote-User: alice' 'http://127.0.0.1:8001/webapps/hello?token=1'`.
//!
//! The span of tower-http's `TraceLayer` stands outside of the layers, so that refused requests have one, too, and
//! `trace::record_request` within fills it in. With `--once` it asks itself, checks the lines, and ends.

#[path = "support/ask.rs"]
mod ask;

use std::error::Error;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::trace::TraceLayer;
use tower_proxied::forced_host::AllowedHosts;
use tower_proxied::proxy_remote_user::Preset;
use tower_proxied::{
    BehindProxyLayer, ForcedHostLayer, ForwardedForLayer, PathPrefix, PeerAddr, Proof, ProxyRemoteUserLayer,
    ScriptNamePrefixLayer, TrustedProxies, trace,
};

/// Writes to the terminal, and keeps what it wrote.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().write_all(bytes)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

fn app() -> Result<Router, Box<dyn Error + Send + Sync>> {
    let proxies = TrustedProxies::loopback();
    let user = ProxyRemoteUserLayer::new(Proof::peer(proxies.clone())).preset(Preset::UserOnly).build()?;
    let behind_proxy = BehindProxyLayer::new(ForwardedForLayer::x_forwarded_for(proxies))
        .proxy_remote_user(user)
        .forced_host(ForcedHostLayer::allowed(AllowedHosts::parse(["www.example.org", "127.0.0.1"])?))
        .script_name_prefix(ScriptNamePrefixLayer::proxy_keeps(PathPrefix::parse("/webapps")?));
    let stack = ServiceBuilder::new()
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(trace::request_span)
                .on_response(trace::record_response),
        )
        .layer(behind_proxy)
        .map_request(trace::record_request);
    let router = Router::new().route("/hello", get(async || "hello\n"));
    Ok(Router::new().fallback_service(stack.service(router)))
}

async fn serve(listener: TcpListener, app: Router) -> io::Result<()> {
    axum::serve(listener, app.into_make_service_with_connect_info::<PeerAddr>()).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let log = Log::default();
    let writer = log.clone();
    let is_once = ask::is_once();
    tracing_subscriber::fmt()
        .with_ansi(false)
        // A server that runs for long keeps nothing.
        .with_writer(move || if is_once { writer.clone() } else { Log::default() })
        .init();
    if !is_once {
        let listener = TcpListener::bind("127.0.0.1:8001").await?;
        println!("http://{}/webapps/hello", listener.local_addr()?);
        return Ok(serve(listener, app()?).await?);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    tokio::spawn(serve(listener, app()?));
    for host in ["Host: www.example.org", "Host: evil.example"] {
        let lines = [host, "X-Forwarded-For: 6.6.6.6, 192.0.2.7", "Remote-User: alice"];
        ask::ask(server, "/webapps/hello?token=1", &lines).await?;
    }
    let log = log.0.lock().unwrap_or_else(PoisonError::into_inner);
    let log = str::from_utf8(&log)?;
    for line in [
        "INFO request{http.request.method=\"GET\" network.peer.address=127.0.0.1 client.outcome=Resolved \
         client.address=192.0.2.7 url.full=\"http://www.example.org/webapps/hello\" enduser.id=\"alice\" \
         http.response.status_code=200}: tower_proxied::trace: response latency=",
        "INFO request{http.request.method=\"GET\" network.peer.address=127.0.0.1 \
         http.response.status_code=421 refusal=HostNotAllowed}: tower_proxied::trace: response latency=",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line} is not once in\n{log}");
    }
    assert!(!log.contains("token"), "{log}");
    Ok(())
}
