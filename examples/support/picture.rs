//! The picture: two front ends and four application servers on the loopback, in this process.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::HeaderName;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ClientConfig;
use tower::Layer;
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::front::Target;
use tower_proxied::proxy_remote_user::Encoding;
use tower_proxied::sticky_route::RouteCookie;
use tower_proxied::{ForceHttpsBodyLayer, PathPrefix, PeerAddr, Scheme, Secret, TrustedProxies};

use crate::app::{self, AppConfig, PrefixMode, Public};
use crate::front::{self, FrontConfig, FrontMember};
use crate::serve::{self, Error, Listener, bind};
use crate::tls;

pub(crate) const USER: &str = "alice";
const PASSWORD: &str = "wonderland";
/// What only the front ends know: with their address it proves that the user is theirs.
const SECRET: &str = "correct-horse-battery-staple";

const PLAIN_ROUTES: [&str; 2] = ["http-1", "http-2"];
const SECURE_ROUTES: [&str; 2] = ["https-1", "https-2"];

pub(crate) struct Picture {
    pub(crate) plain: SocketAddr,
    pub(crate) secure: SocketAddr,
    /// A client that trusts the TLS front end's certificate.
    pub(crate) trusting: Arc<ClientConfig>,
    /// Where the browser comes from, if this machine has more than one address on its loopback.
    pub(crate) browser: Option<IpAddr>,
    /// Somebody else, who is no proxy.
    pub(crate) stranger: Option<IpAddr>,
    apps: BTreeMap<&'static str, Running>,
    fronts: [Running; 2],
}

impl Picture {
    pub(crate) async fn start() -> Result<Self, Error> {
        let mut apps = BTreeMap::new();
        for route in PLAIN_ROUTES.into_iter().chain(SECURE_ROUTES) {
            apps.insert(route, start_app(route, ANY_PORT).await?);
        }
        let members = |routes: [&str; 2]| {
            let member = |route: &str| {
                let target = Target::parse(&format!("http://{}", apps[route].address))?;
                Ok::<_, Error>(FrontMember::new(route, target))
            };
            routes.into_iter().map(member).collect::<Result<Vec<_>, _>>()
        };
        let plain = FrontConfig {
            members: members(PLAIN_ROUTES)?,
            cookie: RouteCookie::opaque([front::random_key()?]).name("ROUTE"),
            basic_auth: None,
            secret: Some(secret()?),
            admin: None,
        };
        // As Apache httpd's `stickysession=sessionid`: the application's own cookie carries the route.
        let secure = FrontConfig {
            members: members(SECURE_ROUTES)?,
            cookie: RouteCookie::suffix("sessionid", '.'),
            basic_auth: Some(format!("{USER}:{PASSWORD}").parse()?),
            secret: Some(secret()?),
            admin: None,
        };
        let signed = tls::SelfSigned::new(&["localhost", "127.0.0.1"])?;
        let plain = start_front(plain, Listener::http(bind(ANY_PORT).await?))?;
        let secure = start_front(secure, Listener::https(bind(ANY_PORT).await?, signed.acceptor()))?;
        Ok(Self {
            plain: plain.address,
            secure: secure.address,
            trusting: Arc::new(signed.client_config(&["http/1.1"])?),
            browser: own_address(Ipv4Addr::new(127, 0, 0, 9)).await,
            stranger: own_address(Ipv4Addr::new(127, 0, 0, 66)).await,
            apps,
            fronts: [plain, secure],
        })
    }

    pub(crate) fn app(&self, route: &str) -> SocketAddr {
        self.apps[route].address
    }

    /// The address that the browser comes from, as the application must see it.
    pub(crate) fn browser_text(&self) -> String {
        self.browser.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string()
    }

    /// RFC 7617.
    pub(crate) fn password(&self) -> (&'static str, &'static str) {
        ("authorization", "Basic YWxpY2U6d29uZGVybGFuZA==")
    }

    pub(crate) async fn kill(&mut self, route: &str) {
        if let Some(running) = self.apps.get_mut(route) {
            running.stop().await;
        }
    }

    /// Starts the killed ones again, where they were.
    pub(crate) async fn revive(&mut self) -> Result<(), Error> {
        for (route, running) in &mut self.apps {
            if running.stop.is_none() {
                *running = start_app(route, running.address).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn stop(mut self) {
        for running in self.fronts.iter_mut().chain(self.apps.values_mut()) {
            running.stop().await;
        }
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app = |route: &str| format!("{:21} {route}", self.apps[route].address);
        writeln!(f, "browser {}", self.browser_text())?;
        writeln!(f, "  |-- http --->  front end {:21}  -->  {}", self.plain, app("http-1"))?;
        writeln!(f, "  |              opaque cookie ROUTE              \\->  {}", app("http-2"))?;
        writeln!(f, "  `-- https -->  front end {:21}  -->  {}", self.secure, app("https-1"))?;
        writeln!(f, "                 password; sessionid=\u{2026}.route     \\->  {}", app("https-2"))?;
        write!(f, "The applications are mounted under /webapps, and believe 127.0.0.1 only.")
    }
}

/// A server, and how to end it.
struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<Result<(), Error>>>,
}

impl Running {
    fn start<F>(address: SocketAddr, serving: impl FnOnce(oneshot::Receiver<()>) -> F) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        Self { address, stop: Some(stop), task: Some(tokio::spawn(serving(stopped))) }
    }

    async fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

async fn start_app(route: &'static str, at: SocketAddr) -> Result<Running, Error> {
    let app = app::app(AppConfig {
        route: route.to_owned(),
        // Not `loopback`: the browser has an address there, too.
        trusted: TrustedProxies::parse(["127.0.0.1"])?,
        claims: Claims::none().scheme(Written::Set).host(Written::Set),
        prefix: PathPrefix::from_static("/webapps"),
        prefix_mode: PrefixMode::Keeps,
        public: Public::Allowed(app::loopback_hosts()?),
        user_header: HeaderName::from_static("remote-user"),
        user_encoding: Encoding::Rfc2047,
        secret: Some(secret()?),
        session_cookie: "sessionid".to_owned(),
        listener_scheme: Scheme::Http,
        force_https_body: ForceHttpsBodyLayer::new(),
    })?;
    let listener = Listener::http(bind(at).await?);
    Ok(Running::start(listener.address()?, move |stopped| async move {
        let stack = move |peer| PeerAddr::layer(peer).layer(app.clone());
        serve::serve(vec![(listener, stack)], async { stopped.await.unwrap_or_default() }).await
    }))
}

fn start_front(config: FrontConfig, listener: Listener) -> Result<Running, Error> {
    Ok(Running::start(listener.address()?, move |stopped| async move {
        front::serve(config, vec![listener], async { stopped.await.unwrap_or_default() }).await
    }))
}

fn secret() -> Result<(HeaderName, Secret), Error> {
    Ok((HeaderName::from_static("x-front-secret"), Secret::parse(SECRET)?))
}

/// This address, if connections can come from it: not every system has all of 127.0.0.0/8.
async fn own_address(address: Ipv4Addr) -> Option<IpAddr> {
    TcpListener::bind((address, 0)).await.ok().map(|_| IpAddr::V4(address))
}
