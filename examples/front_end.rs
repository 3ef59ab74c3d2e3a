//! A reverse proxy: `cargo run --example front_end`, and then <http://127.0.0.1:8080/>.
//!
//! Without `--member` it starts two small application servers of its own, so that there is something to see.
//!
//! ```text
//! cargo run --example front_end -- \
//!     --member http-1=http://127.0.0.1:8001 --member http-2=http://127.0.0.1:8002,weight=2 \
//!     --member spare=http://127.0.0.1:8003,standby \
//!     --cookie opaque:ROUTEID --basic-auth alice:wonderland --admin /balancer --tls-listen 127.0.0.1:8443
//! ```

#[path = "support/front.rs"]
mod front;
#[path = "support/serve.rs"]
mod serve;
#[path = "support/tls.rs"]
mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZero;
use std::process::ExitCode;
use std::str::FromStr;

use axum::body::Body;
use clap::Parser;
use http::{HeaderName, Request, Response};
use tower::ServiceBuilder;
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::proxy_remote_user::Preset;
use tower_proxied::sticky_route::RouteCookie;
use tower_proxied::{
    ForwardedForLayer, Identity, Proof, Proxied, ProxyRemoteUserLayer, Secret, TrustedProxies,
};

use self::front::{BasicAuth, FrontConfig, FrontMember, random_key};
use self::serve::{Error, Listener, Workers, bind, interrupted};

/// A reverse proxy with sticky sessions.
#[derive(Parser)]
struct Flags {
    /// Where to listen for HTTP/1.1 and HTTP/2.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where to listen with TLS, with a certificate that is made and signed here.
    #[arg(long, value_name = "ADDR")]
    tls_listen: Option<SocketAddr>,
    /// An application server; may be given several times.
    #[arg(long = "member", value_name = "ROUTE=URL[,weight=N][,standby]")]
    members: Vec<FrontMember>,
    /// The cookie that keeps a client with its member: insert:NAME (the route as it is), opaque:NAME (a token, with a
    /// key of this process), managed-suffix:NAME (the route behind the application's own cookie, added and removed
    /// here), suffix:NAME (added by the application).
    #[arg(long, value_name = "KIND:NAME", default_value = "opaque:ROUTEID")]
    cookie: CookieFlag,
    /// The one user; the application servers get it as Remote-User.
    #[arg(long, value_name = "USER:PASSWORD")]
    basic_auth: Option<String>,
    /// The path where this user sees the members, drains them, and gives them other weights.
    #[arg(long, value_name = "PATH", requires = "basic_auth")]
    admin: Option<String>,
    /// A header that proves to the application servers that requests come from here.
    #[arg(long, value_name = "NAME=VALUE")]
    secret_header: Option<String>,
    /// Threads that serve; one per core unless given.
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
}

#[derive(Clone)]
struct CookieFlag(RouteCookie);

impl FromStr for CookieFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once(':').ok_or("it must be KIND:NAME")?;
        Ok(Self(match kind {
            "insert" => RouteCookie::plain().name(name),
            "opaque" => RouteCookie::opaque([random_key()?]).name(name),
            "managed-suffix" => RouteCookie::managed_suffix(name, '.'),
            "suffix" => RouteCookie::suffix(name, '.'),
            _ => return Err(format!("{kind:?} is none of insert, opaque, managed-suffix, suffix")),
        }))
    }
}

// The two flags below hold secrets, and clap repeats what it refuses: they are read here instead.

fn basic_auth(text: &str) -> Result<BasicAuth, Error> {
    text.parse().map_err(|error| format!("--basic-auth is refused: {error}").into())
}

fn secret_header(text: &str) -> Result<(HeaderName, Secret), Error> {
    let (name, value) = text.split_once('=').ok_or("--secret-header is refused: it must be NAME=VALUE")?;
    let name = name.parse().map_err(|_| "--secret-header is refused: NAME is no name of a header")?;
    let secret = Secret::parse(value).map_err(|error| format!("--secret-header is refused: {error}"))?;
    Ok((name, secret))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match front_end(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("front_end: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn front_end(flags: Flags) -> Result<(), Error> {
    let secret = flags.secret_header.as_deref().map(secret_header).transpose()?;
    let mut config = FrontConfig {
        members: flags.members,
        cookie: flags.cookie.0,
        basic_auth: flags.basic_auth.as_deref().map(basic_auth).transpose()?,
        secret,
        admin: flags.admin,
    };
    config.check()?;
    let workers = Workers::start(flags.threads)?;
    let mut listeners = vec![Listener::http(bind(flags.listen).await?).dealt_to(&workers)];
    if let Some(address) = flags.tls_listen {
        let signed = tls::SelfSigned::new(&["localhost", "127.0.0.1", "::1", &address.ip().to_string()])?;
        listeners.push(Listener::https(bind(address).await?, signed.acceptor()).dealt_to(&workers));
    }
    for listener in &listeners {
        println!("{}://{} serves HTTP/1.1 and HTTP/2", listener.scheme(), listener.address()?);
    }
    if flags.tls_listen.is_some() {
        println!("its certificate is known to no browser");
    }
    if config.members.is_empty() {
        for route in ["http-1", "http-2"] {
            config.members.push(small_application(route, config.secret.clone()).await?);
        }
        println!("no --member is given: two small application servers run in this process");
    }
    for member in &config.members {
        println!("member {} at {}", member.route, member.target);
    }
    for line in front::unreachable(&config.members).await {
        eprintln!("front_end: {line}");
    }
    println!("Ctrl-C ends it");
    front::serve(config, listeners, interrupted()).await
}

/// An application server that tells what it believes.
async fn small_application(
    route: &'static str,
    secret: Option<(HeaderName, Secret)>,
) -> Result<FrontMember, Error> {
    let mut proof = Proof::peer(TrustedProxies::loopback());
    if let Some((name, secret)) = secret {
        proof = proof & Proof::shared_secret(name, [secret]);
    }
    let forwarded_for = ForwardedForLayer::x_forwarded_for(TrustedProxies::loopback())
        .claims(Claims::none().scheme(Written::Set).host(Written::Set));
    let app = axum::Router::new().fallback_service(
        ServiceBuilder::new()
            .layer(forwarded_for)
            .layer(ProxyRemoteUserLayer::new(proof).preset(Preset::SetRemoteUser).build()?)
            .service_fn(move |request| async move { Ok::<_, Infallible>(tell(route, &request)) }),
    );
    let socket = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let target = format!("http://{}", socket.local_addr()?).parse()?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(socket, app).await });
    Ok(FrontMember::new(route, target))
}

fn tell(route: &str, request: &Request<Body>) -> Response<Body> {
    let mut text = format!("This is {route}.\n");
    if let Some(proxied) = request.extensions().get::<Proxied>() {
        let client = proxied.client().map_or_else(|| String::from("unknown"), |client| client.to_string());
        let scheme = proxied.scheme().map_or("an unknown scheme", |scheme| scheme.as_str());
        let host = proxied.host().map_or_else(|| String::from("an unknown host"), |host| host.to_string());
        text += &format!("Your address is {client}, and you came by {scheme} to {host}.\n");
    }
    match request.extensions().get::<Identity>().and_then(Identity::user) {
        Some(user) => text += &format!("You are {user}.\n"),
        None => text += "You are nobody.\n",
    }
    Response::new(text.into())
}
