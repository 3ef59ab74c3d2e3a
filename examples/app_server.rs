//! An axum application behind a proxy, with the whole application-side stack.
//!
//! ```sh
//! cargo run --example app_server
//! cargo run --example app_server -- --listen 127.0.0.1:8001 --prefix /webapps --front nginx --trusted loopback
//! ```
//!
//! Any path under the prefix answers in JSON what the application saw; `/` says the same to people, with the
//! reasons. `/page`, `/redirect?to=…`, `/cookie?path=…`, `/login`, `/stream`, `/upload` and the WebSocket `/socket` are
//! there to try.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use http::HeaderName;
use tower::Layer;
use tower_proxied::forced_host::AllowedHosts;
use tower_proxied::forwarded_for::{Claims, Front, Written};
use tower_proxied::proxy_remote_user::Encoding;
use tower_proxied::{ForceHttpsBodyLayer, PathPrefix, PeerAddr, PublicUrl, Scheme, Secret, TrustedProxies};

use self::serve::{Error, Listener, bind, interrupted};

#[path = "support/app.rs"]
mod app;
#[path = "support/serve.rs"]
mod serve;
#[path = "support/tls.rs"]
mod tls;

#[derive(Parser)]
#[command(about = "An axum application behind a proxy")]
struct Flags {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8001")]
    listen: SocketAddr,
    /// The name of this application server in the balancer.
    #[arg(long, default_value = "http-1")]
    route: String,
    /// A trusted proxy: an address, a network, `loopback`, `private` or `unix:`. Repeatable.
    #[arg(long, default_value = "loopback")]
    trusted: Vec<String>,
    /// The path under which the application is mounted.
    #[arg(long, default_value = "")]
    prefix: PathPrefix,
    /// What the proxy does with the prefix.
    #[arg(long, value_enum, default_value = "keeps")]
    prefix_mode: app::PrefixMode,
    /// The address as the browser sees it; requests are not asked.
    #[arg(long, conflicts_with = "allowed_host")]
    public_url: Option<PublicUrl>,
    /// A host that requests may name. Repeatable. Without this and --public-url: the loopback's names.
    #[arg(long)]
    allowed_host: Vec<String>,
    /// The session's cookie; the route is appended to its value outside of the application.
    #[arg(long, default_value = "sessionid")]
    session_cookie: String,
    /// The front end whose usual recipe writes the claims.
    #[arg(long, value_parser = front, conflicts_with = "claim")]
    front: Option<Front>,
    /// A claim of the proxies, `scheme|host|port|prefix=set|appended`. Repeatable. None are believed unless said.
    #[arg(long, value_parser = claim)]
    claim: Vec<(Claim, Written)>,
    /// The header in which the proxy names the user.
    #[arg(long, default_value = "remote-user")]
    user_header: HeaderName,
    /// How the proxy writes names that are not ASCII, `utf8|latin1|percent|rfc2047`. The `front_end` example writes
    /// the last.
    #[arg(long, default_value = "utf8", value_parser = encoding)]
    user_encoding: Encoding,
    /// A secret that the proxy must send for its user to be believed.
    #[arg(long, value_name = "NAME=VALUE")]
    secret_header: Option<String>,
    /// Leave `http:` references in https pages, to see what a browser makes of them.
    #[arg(long)]
    leave_bodies: bool,
    /// Serve https, with a certificate signed by itself.
    #[arg(long)]
    tls: bool,
}

#[derive(Clone, Copy)]
enum Claim {
    Scheme,
    Host,
    Port,
    Prefix,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("app_server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<(), Error> {
    let claims = flags.claim.iter().fold(Claims::none(), |claims, (claim, written)| match claim {
        Claim::Scheme => claims.scheme(*written),
        Claim::Host => claims.host(*written),
        Claim::Port => claims.port(*written),
        Claim::Prefix => claims.prefix(*written),
    });
    let public = match flags.public_url {
        Some(public) => app::Public::Fixed(public),
        None if flags.allowed_host.is_empty() => app::Public::Allowed(app::loopback_hosts()?),
        None => app::Public::Allowed(AllowedHosts::parse(&flags.allowed_host)?),
    };
    let app = app::app(app::AppConfig {
        route: flags.route,
        trusted: TrustedProxies::parse(&flags.trusted)?,
        claims: flags.front.map_or(claims, Claims::from),
        prefix: flags.prefix,
        prefix_mode: flags.prefix_mode,
        public,
        user_header: flags.user_header,
        user_encoding: flags.user_encoding,
        secret: flags.secret_header.as_deref().map(secret_header).transpose()?,
        session_cookie: flags.session_cookie,
        listener_scheme: if flags.tls { Scheme::Https } else { Scheme::Http },
        force_https_body: match flags.leave_bodies {
            true => ForceHttpsBodyLayer::disabled(),
            false => ForceHttpsBodyLayer::new(),
        },
    })?;
    let socket = bind(flags.listen).await?;
    let address = socket.local_addr()?;
    let listener = if flags.tls {
        let signed = tls::SelfSigned::new(&["localhost", "127.0.0.1", "::1", &address.ip().to_string()])?;
        Listener::https(socket, signed.acceptor())
    } else {
        Listener::http(socket)
    };
    println!("{}://{address}/", listener.scheme());
    println!("Ctrl-C ends it");
    serve::serve(vec![(listener, move |peer| PeerAddr::layer(peer).layer(app.clone()))], interrupted()).await
}

fn front(text: &str) -> Result<Front, String> {
    match text {
        "apache" => Ok(Front::Apache),
        "nginx" => Ok(Front::Nginx),
        "haproxy" => Ok(Front::HaProxy),
        _ => Err(String::from("apache, nginx or haproxy")),
    }
}

fn encoding(text: &str) -> Result<Encoding, String> {
    match text {
        "utf8" => Ok(Encoding::Utf8),
        "latin1" => Ok(Encoding::Latin1),
        "percent" => Ok(Encoding::Percent),
        "rfc2047" => Ok(Encoding::Rfc2047),
        _ => Err(String::from("utf8, latin1, percent or rfc2047")),
    }
}

fn claim(text: &str) -> Result<(Claim, Written), String> {
    let form = || String::from("scheme|host|port|prefix=set|appended");
    let (claim, written) = text.split_once('=').ok_or_else(form)?;
    let claim = match claim {
        "scheme" => Claim::Scheme,
        "host" => Claim::Host,
        "port" => Claim::Port,
        "prefix" => Claim::Prefix,
        _ => return Err(form()),
    };
    match written {
        "set" => Ok((claim, Written::Set)),
        "appended" => Ok((claim, Written::Appended)),
        _ => Err(form()),
    }
}

/// Read here and not by clap, which repeats what it refuses.
fn secret_header(text: &str) -> Result<(HeaderName, Secret), Error> {
    let (name, value) = text.split_once('=').ok_or("--secret-header is refused: it must be NAME=VALUE")?;
    let name = name.parse().map_err(|_| "--secret-header is refused: NAME is no name of a header")?;
    let secret = Secret::parse(value).map_err(|error| format!("--secret-header is refused: {error}"))?;
    Ok((name, secret))
}
