//! A front end made of this crate's parts over hyper-util's client. `front_end` and `demo` run it.
//!
//! ```text
//! listener -> PeerAddr -> ForwardedFor -> SetForwarded -> password -> SetRemoteUser -> StickyRoute -> Upstream -> client
//! ```
//!
//! `ForwardedFor` trusts nobody here: it leaves in `Proxied` by which scheme the client came, for the cookie's `Secure`.
#![allow(dead_code, reason = "each example takes what it needs")]

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::upgrade::{self, OnUpgrade};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tower::layer::layer_fn;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_proxied::errors_to_502::{ErrorsTo502Layer, MemberError};
use tower_proxied::front::{SetForwardedLayer, SetRemoteUserLayer, Target, UpstreamLayer};
use tower_proxied::proxy_remote_user::Preset;
use tower_proxied::sticky_route::{
    Failover, InFlightUpgrade, Member, Operator, Phase, RequestBody, Role, RouteCookie, StickyAdmin,
    StickyRoute,
};
use tower_proxied::{
    DetachedUser, ForwardedForLayer, PeerAddr, Refusal, RefusalKind, Scheme, Secret, TrustedProxies,
};

use crate::serve::{self, Answer, Error, Listener};

#[path = "basic.rs"]
mod basic;

#[derive(Clone, Debug)]
pub(crate) struct FrontConfig {
    pub(crate) members: Vec<FrontMember>,
    pub(crate) cookie: RouteCookie,
    /// Who may come in; everybody, as nobody, where there is none.
    pub(crate) basic_auth: Option<BasicAuth>,
    /// What proves to the application servers that a request came through here.
    pub(crate) secret: Option<(HeaderName, Secret)>,
    /// The path where the user changes the members. Not without [`basic_auth`](Self::basic_auth): there is no user then.
    pub(crate) admin: Option<String>,
}

impl FrontConfig {
    /// What [`serve`] would refuse.
    pub(crate) fn check(&self) -> Result<(), Error> {
        balanced(self).map(drop)
    }
}

/// `ROUTE=URL[,weight=N][,standby]`
#[derive(Clone, Debug)]
pub(crate) struct FrontMember {
    pub(crate) route: String,
    pub(crate) target: Target,
    pub(crate) weight: u32,
    pub(crate) role: Role,
}

impl FrontMember {
    pub(crate) fn new(route: &str, target: Target) -> Self {
        Self { route: route.into(), target, weight: 1, role: Role::Active }
    }
}

impl FromStr for FrontMember {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (route, rest) = text.split_once('=').ok_or("it must be ROUTE=URL[,weight=N][,standby]")?;
        let mut items = rest.split(',');
        let target: Target = items.next().unwrap_or_default().parse().map_err(|error| format!("{error}"))?;
        if target.scheme() == Scheme::Https {
            return Err(format!(
                "target {:?} is refused: this front end speaks http to its members",
                target.to_string()
            ));
        }
        let mut member = Self::new(route, target);
        for item in items {
            match item.split_once('=') {
                Some(("weight", weight)) => {
                    member.weight = weight.parse().map_err(|_| format!("weight {weight:?} is no number"))?;
                }
                None if item == "standby" => member.role = Role::Standby,
                _ => return Err(format!("{item:?} is neither weight=N nor standby")),
            }
        }
        Ok(member)
    }
}

/// `USER:PASSWORD`
#[derive(Clone)]
pub(crate) struct BasicAuth {
    user: String,
    credentials: Vec<u8>,
}

impl BasicAuth {
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        basic::credentials(headers).is_some_and(|sent| sent.ct_eq(&self.credentials).into())
    }
}

impl FromStr for BasicAuth {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                Ok(Self { user: user.into(), credentials: text.as_bytes().to_vec() })
            }
            _ => Err("it must be USER:PASSWORD"),
        }
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A key for opaque cookies, of this process alone.
pub(crate) fn random_key() -> Result<[u8; 32], String> {
    let mut key = [0; 32];
    ring::default_provider()
        .secure_random
        .fill(&mut key)
        .map_err(|_| String::from("this system gives no random bytes for a key"))?;
    Ok(key)
}

/// Serves all listeners until `stop` is ready, and then for as long as open requests take, ten seconds at most.
pub(crate) async fn serve(
    config: FrontConfig,
    listeners: Vec<Listener>,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let balanced = balanced(&config)?;
    let served = listeners
        .into_iter()
        .map(|listener| {
            let (scheme, port) = (listener.scheme(), listener.address()?.port());
            let (config, balanced) = (config.clone(), balanced.clone());
            Ok((listener, move |peer| stack(&config, peer, scheme, port, balanced.clone())))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    serve::serve(served, stop).await
}

/// A line for each member that does not answer. It may come up later: this is no error.
pub(crate) async fn unreachable(members: &[FrontMember]) -> Vec<String> {
    let mut lines = Vec::new();
    for member in members {
        let connect = TcpStream::connect(host_and_port(&member.target));
        let reason = match tokio::time::timeout(Duration::from_secs(2), connect).await {
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => String::from("no answer within 2 s"),
        };
        lines.push(format!("member {} at {} cannot be reached now: {reason}", member.route, member.target));
    }
    lines
}

fn host_and_port(target: &Target) -> String {
    let authority = target.authority();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    if has_port { authority.into() } else { format!("{authority}:{}", target.scheme().default_port()) }
}

/// Tells the members who is logged in. They read it with the same preset.
fn set_remote_user(config: &FrontConfig) -> Result<SetRemoteUserLayer, Error> {
    let mut layer = SetRemoteUserLayer::from_detached_user().preset(Preset::SetRemoteUser);
    if let Some((name, secret)) = &config.secret {
        layer = layer.shared_secret(name.clone(), secret.clone());
    }
    let layer = layer.checked()?;
    if let Some(basic_auth) = &config.basic_auth {
        layer.can_write(&DetachedUser::new(basic_auth.user()))?;
    }
    Ok(layer)
}

type MemberClient = Client<HttpConnector, RequestBody<Incoming>>;

thread_local! {
    /// Each thread has connections of its own to the members.
    static CLIENT: MemberClient = {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .build(connector)
    };
}

/// All members under one roof.
fn balanced(config: &FrontConfig) -> Result<impl Answer + use<>, Error> {
    let mut sticky =
        StickyRoute::builder("front").cookie(config.cookie.clone()).classify(Phase::of_hyper_util).failover(
            Failover::default().replay(64 * 1024).retry_budget(20, 10).head_timeout(Duration::from_secs(60)),
        );
    for member in &config.members {
        let upstream = UpstreamLayer::new(member.target.clone()).websockets();
        sticky = sticky.member(Member::new(&member.route, upstream).weight(member.weight).role(member.role));
    }
    let sticky = sticky.into_layer()?;
    let admin = StickyAdmin::new(sticky.membership(), operator)?;
    let path = config.admin.clone();
    let balanced = ServiceBuilder::new()
        .map_response(|response: Response<_>| {
            if let Some(error) = response.extensions().get::<MemberError>() {
                eprintln!("front end: {}: {error}", response.status());
            }
            response
        })
        .layer(set_remote_user(config)?)
        .layer(layer_fn(|pool| service_fn(move |request| exchange(Clone::clone(&pool), request))))
        .layer(ErrorsTo502Layer::new())
        .layer(sticky)
        .service_fn(|request| CLIENT.with(|client| client.request(request)));
    Ok(service_fn(move |request: Request<Incoming>| {
        let is_admin = path.as_deref() == Some(request.uri().path());
        let (admin, balanced) = (admin.clone(), balanced.clone());
        async move {
            if is_admin {
                return admin.oneshot(request).await.map(|response| response.map(Either::Left));
            }
            balanced.oneshot(request).await.map(|response| response.map(Either::Right))
        }
    }))
}

/// The one user, once the password was right.
fn operator(parts: &request::Parts) -> Result<Operator, Refusal> {
    let user = parts.extensions.get::<DetachedUser>().ok_or(RefusalKind::NotOperator)?;
    Ok(Operator::new(user.name()))
}

/// One request and its response; where both sides agree on a WebSocket, their connections are joined.
async fn exchange<S, R>(pool: S, mut request: Request<Incoming>) -> Result<Response<R>, S::Error>
where
    S: Service<Request<Incoming>, Response = Response<R>>,
{
    let browser = request.headers().contains_key(header::UPGRADE).then(|| upgrade::on(&mut request));
    let mut response = pool.oneshot(request).await?;
    if let Some(browser) = browser.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        let in_flight = response.extensions_mut().remove::<InFlightUpgrade>();
        let member = upgrade::on(&mut response);
        tokio::spawn(async move {
            join(browser, member).await;
            drop(in_flight);
        });
    }
    Ok(response)
}

async fn join(browser: OnUpgrade, member: OnUpgrade) {
    if let (Ok(browser), Ok(member)) = tokio::join!(browser, member) {
        let (mut browser, mut member) = (TokioIo::new(browser), TokioIo::new(member));
        // An error is the end of either connection.
        let _ = tokio::io::copy_bidirectional(&mut browser, &mut member).await;
    }
}

/// What stands before the balancer, for one connection.
fn stack<S: Answer>(
    config: &FrontConfig,
    peer: SocketAddr,
    scheme: Scheme,
    port: u16,
    balanced: S,
) -> impl Answer + use<S> {
    let basic_auth = config.basic_auth.clone();
    ServiceBuilder::new()
        .layer(PeerAddr::layer(peer))
        .layer(ForwardedForLayer::x_forwarded_for(TrustedProxies::none()).listener_scheme(scheme))
        .layer(SetForwardedLayer::edge().listener_scheme(scheme).listener_port(port))
        .service_fn(move |mut request: Request<Incoming>| {
            let admitted = admit(basic_auth.as_ref(), &mut request);
            let balanced = balanced.clone();
            async move {
                if !admitted {
                    return Ok(unauthorized().map(Either::Right));
                }
                balanced.oneshot(request).await.map(|response| response.map(Either::Left))
            }
        })
}

/// Asks for the password, where there is one, and leaves the user. The password goes no further.
fn admit(basic_auth: Option<&BasicAuth>, request: &mut Request<Incoming>) -> bool {
    let Some(basic_auth) = basic_auth else { return true };
    if !basic_auth.admits(request.headers()) {
        return false;
    }
    request.headers_mut().remove(header::AUTHORIZATION);
    request.extensions_mut().insert(DetachedUser::new(basic_auth.user()));
    true
}

fn unauthorized() -> Response<Full<Bytes>> {
    let mut response =
        Response::new(Full::from("not authenticated: a user and a password are needed here\n"));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let challenge = HeaderValue::from_static("Basic realm=\"front end\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
