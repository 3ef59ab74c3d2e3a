//! Proxies that know who sits before the browser: one for each person, at a port of its own. A browser's cookies go
//! to all of them, since cookies know no ports (RFC 6265, section 8.5).
#![allow(dead_code, reason = "each example takes what it needs")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Body;
use http::HeaderName;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::{Layer, ServiceBuilder};
use tower_proxied::errors_to_502::ErrorsTo502Layer;
use tower_proxied::front::{SetRemoteUserLayer, Target, UpstreamLayer};
use tower_proxied::{DetachedUser, PeerAddr, Proof, Secret, TrustedProxies};

use crate::serve::{self, Error, Listener, bind};

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// An application and its proxies. They are served until the runtime ends.
pub(crate) struct SignOn {
    /// Past the proxies.
    pub(crate) app: SocketAddr,
    proxies: BTreeMap<String, SocketAddr>,
}

impl SignOn {
    /// One proxy for each of these users, and one for nobody.
    pub(crate) async fn start(app: Router, users: &[DetachedUser]) -> Result<Self, Error> {
        let listener = Listener::http(bind(ANY_PORT).await?);
        let app_address = listener.address()?;
        let mut servers = vec![served(listener, app)];
        let mut proxies = BTreeMap::new();
        for user in users.iter().map(Some).chain([None]) {
            let listener = Listener::http(bind(ANY_PORT).await?);
            proxies.insert(user.map_or("", DetachedUser::name).to_owned(), listener.address()?);
            servers.push(served(listener, proxy(user.cloned(), app_address)?));
        }
        tokio::spawn(serve::serve(servers, std::future::pending()));
        Ok(Self { app: app_address, proxies })
    }

    /// The proxy that names this user.
    pub(crate) fn by(&self, user: &str) -> SocketAddr {
        self.proxies[user]
    }

    /// The proxy that names nobody.
    pub(crate) fn by_nobody(&self) -> SocketAddr {
        self.by("")
    }
}

/// What a proxy writes to prove that a request came through it.
pub(crate) const SECRET: (&str, &str) = ("x-proxy-secret", "through-the-looking-glass");

/// What the application believes: the proxies' address and secret, together.
pub(crate) fn proof() -> Result<Proof, Error> {
    let (name, secret) = secret()?;
    Ok(Proof::peer(TrustedProxies::parse(["127.0.0.1"])?) & Proof::shared_secret(name, [secret]))
}

fn secret() -> Result<(HeaderName, Secret), Error> {
    Ok((HeaderName::from_static(SECRET.0), Secret::parse(SECRET.1)?))
}

fn proxy(user: Option<DetachedUser>, to: SocketAddr) -> Result<Router, Error> {
    let (name, secret) = secret()?;
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let upstream = ServiceBuilder::new()
        .layer(ErrorsTo502Layer::new())
        .layer(SetRemoteUserLayer::from_fn(move |_| user.clone()).shared_secret(name, secret))
        .layer(UpstreamLayer::new(Target::parse(&format!("http://{to}"))?))
        .service(client);
    Ok(Router::new().fallback_service(upstream))
}

fn served(listener: Listener, router: Router) -> (Listener, impl Fn(SocketAddr) -> Router + Send + 'static) {
    let stack = move |peer| Router::new().fallback_service(PeerAddr::layer(peer).layer(router.clone()));
    (listener, stack)
}
