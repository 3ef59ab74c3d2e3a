//! A front end under load over real sockets, while members are killed, added, drained and removed.
//!
//! `cargo test --test sticky_route_soak -- --ignored --nocapture`; `SOAK_SECONDS=3600` for more than a minute.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tower::ServiceBuilder;
use tower_proxied::PeerAddr;
use tower_proxied::front::{SetForwardedLayer, Target, Upstream, UpstreamLayer};
use tower_proxied::sticky_route::{
    Failover, Member, Membership, Phase, RequestBody, RouteCookie, State, StickyRoute,
};

const MEMBERS: [&str; 5] = ["http-1", "http-2", "http-3", "http-4", "http-5"];
const CLIENTS: usize = 16;

/// The longest that a member stays ejected, and how long after its start it has its clients again at the latest.
const EJECTED: Duration = Duration::from_millis(300);
const GRACE: Duration = Duration::from_millis(1500);

/// How much more memory the later rounds may take at most than the earlier ones.
const MARGIN: usize = 8 << 20;

type Service = Upstream<Client<HttpConnector, RequestBody<Incoming>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute, or as long as it is told"]
async fn no_request_is_lost() {
    let asked = std::env::var("SOAK_SECONDS").map(|seconds| seconds.parse().expect("a number"));
    let until = Instant::now() + Duration::from_secs(asked.unwrap_or(60));

    let world = Arc::new(World::default());
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut servers = HashMap::new();
    let mut builder = StickyRoute::builder("shop")
        .cookie(RouteCookie::opaque([[7; 32]]))
        .failover(Failover::default().max_attempts(4).eject_for(EJECTED / 3, EJECTED).keep_pin())
        .classify(Phase::of_hyper_util);
    for route in MEMBERS {
        let server = Server::start(route, free_address().await, &world).await;
        builder = builder.member(member(route, server.address, &client));
        servers.insert(route, server);
    }
    let sticky = builder.build().unwrap();
    let members = sticky.membership();
    let front = front_end(sticky).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(browse(front, world.clone(), number));
    }

    let mut memory = Vec::new();
    for round in 0.. {
        let route = MEMBERS[round % MEMBERS.len()];
        let killed = servers.remove(route).unwrap();
        let address = killed.address;
        killed.kill(&world).await;
        sleep(2 * EJECTED).await;
        servers.insert(route, Server::start(route, address, &world).await);

        add_and_remove(&members, &client, &world).await;
        sleep(GRACE).await;
        memory.push(resident());
        if Instant::now() >= until {
            break;
        }
    }

    world.is_over.store(true, Ordering::Release);
    while let Some(finished) = clients.join_next().await {
        finished.unwrap();
    }
    let in_flight = || members.status().iter().map(|member| member.in_flight()).sum::<usize>();
    let idle = timeout(Duration::from_secs(5), async {
        while in_flight() != 0 {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(idle.await.is_ok(), "{} requests are in flight, and nobody waits for them", in_flight());

    let counts = &world.counts;
    println!("{} rounds: {counts:?}", memory.len());
    println!("resident MiB by round: {:?}", memory.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>());
    for (count, what) in [(&counts.lost, "lost"), (&counts.misrouted, "misrouted")] {
        assert_eq!(count.load(Ordering::Relaxed), 0, "{what}");
    }
    for (count, what) in
        [(&counts.at_home, "at home"), (&counts.detours, "detours"), (&counts.moved_on, "moved on")]
    {
        assert!(count.load(Ordering::Relaxed) > 0, "{what}");
    }
    assert!(members.status().iter().all(|member| member.state() == State::Ok));
    // The first two rounds fill pools and caches.
    if let Some((early, late)) = memory.get(2..).map(|rounds| rounds.split_at(rounds.len() / 2)) {
        let most = |rounds: &[usize]| rounds.iter().copied().max();
        if let (Some(early), Some(late)) = (most(early), most(late)) {
            assert!(late <= early + MARGIN, "{early} bytes grew to {late}");
        }
    }
}

/// What servers and clients know of each other.
#[derive(Default)]
struct World {
    /// By route, since when its server runs.
    up: Mutex<HashMap<&'static str, Instant>>,
    is_over: AtomicBool,
    counts: Counts,
}

impl World {
    /// Since when the member runs, if that is long enough for its clients to be with it.
    fn healthy_since(&self, route: &str, now: Instant) -> Option<Instant> {
        self.up.lock().unwrap().get(route).copied().filter(|since| now.duration_since(*since) >= GRACE)
    }
}

#[derive(Debug, Default)]
struct Counts {
    gets: AtomicUsize,
    posts: AtomicUsize,
    /// Idempotent requests without an answer of a member.
    lost: AtomicUsize,
    /// Others: whether a member got them is not known.
    failed_posts: AtomicUsize,
    /// Requests whose member was healthy, and was the one that answered.
    at_home: AtomicUsize,
    misrouted: AtomicUsize,
    /// Another member answered while the client's was down.
    detours: AtomicUsize,
    /// The client's member was removed.
    moved_on: AtomicUsize,
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A sixth member comes, gets sessions, is drained and goes.
async fn add_and_remove(
    members: &Membership<Service>,
    client: &Client<HttpConnector, RequestBody<Incoming>>,
    world: &Arc<World>,
) {
    let server = Server::start("http-6", free_address().await, world).await;
    members.insert(member("http-6", server.address, client)).unwrap();
    sleep(2 * EJECTED).await;
    // Pinned clients come on and on: it may well be busy when the time is over.
    let _ = members.drain("http-6", EJECTED).unwrap().await;
    world.up.lock().unwrap().remove("http-6");
    members.remove("http-6").unwrap();
    sleep(EJECTED).await;
    server.kill(world).await;
}

/// A client that keeps its connection and its cookie.
async fn browse(front: SocketAddr, world: Arc<World>, number: usize) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut home: Option<(String, String)> = None;
    let counts = &world.counts;
    for turn in number.. {
        if world.is_over.load(Ordering::Acquire) {
            return;
        }
        let is_get = turn % 8 != 0;
        if turn % 100 == 99 {
            home = None;
        }
        let mut request = Request::builder().uri(format!("http://{front}/"));
        if let Some((_, pin)) = &home {
            request = request.header("cookie", pin);
        }
        let (method, body) = if is_get { (Method::GET, "") } else { (Method::POST, "form=1") };
        count(if is_get { &counts.gets } else { &counts.posts });
        let healthy = |at| home.as_ref().and_then(|(route, _)| world.healthy_since(route, at));
        let before = healthy(Instant::now());
        let request = request.method(method).body(Full::from(body)).unwrap();
        let Some((route, pin)) = answer(&client, request).await else {
            if is_get || (before.is_some() && before == healthy(Instant::now())) {
                count(&counts.lost);
            } else {
                count(&counts.failed_posts);
            }
            continue;
        };
        if let Some((own, _)) = &home {
            let is_healthy = before.is_some() && before == healthy(Instant::now());
            match (is_healthy, *own == route, &pin) {
                (true, true, None) => count(&counts.at_home),
                (true, ..) => count(&counts.misrouted),
                (false, false, None) => count(&counts.detours),
                (false, _, Some(_)) => count(&counts.moved_on),
                (false, true, None) => {}
            }
        }
        home = pin.map(|pin| (route, pin)).or(home);
    }
}

/// The member that answered, and the pin where it is a new one.
async fn answer(
    client: &Client<HttpConnector, Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Option<(String, Option<String>)> {
    let response = timeout(Duration::from_secs(10), client.request(request)).await.ok()?.ok()?;
    let pin = response.headers().get("set-cookie").map(|line| line.to_str().unwrap());
    let pin = pin.map(|line| line.split(';').next().unwrap().to_owned());
    let is_answered = response.status() == 200;
    let body = response.into_body().collect().await.ok()?.to_bytes();
    is_answered.then(|| (String::from_utf8(body.into()).unwrap(), pin))
}

/// An application server that tells its route.
struct Server {
    route: &'static str,
    address: SocketAddr,
    running: JoinHandle<()>,
}

impl Server {
    async fn start(route: &'static str, address: SocketAddr, world: &World) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let running = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let answer = service_fn(move |request: Request<Incoming>| async move {
                    let _ = request.into_body().collect().await;
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(route.as_bytes()))))
                });
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        world.up.lock().unwrap().insert(route, Instant::now());
        Self { route, address, running }
    }

    /// Its listener and all of its connections are gone, whatever they were doing.
    async fn kill(self, world: &World) {
        world.up.lock().unwrap().remove(self.route);
        self.running.abort();
        let _ = self.running.await;
    }
}

/// Below the ports that outgoing connections get: nobody else takes it while its server is down.
async fn free_address() -> SocketAddr {
    for port in 20_000 + std::process::id() as u16 % 8_000.. {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).await.is_ok() {
            return address;
        }
    }
    unreachable!("some port is free")
}

fn member(
    route: &str,
    address: SocketAddr,
    client: &Client<HttpConnector, RequestBody<Incoming>>,
) -> Member<Service> {
    let target = Target::parse(&format!("http://{address}")).unwrap();
    Member::new(route, ServiceBuilder::new().layer(UpstreamLayer::new(target)).service(client.clone()))
}

async fn front_end(sticky: StickyRoute<Service>) -> SocketAddr {
    let sticky = sticky.errors_to_502();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let stack = ServiceBuilder::new()
                .layer(PeerAddr::layer(peer))
                .layer(SetForwardedLayer::edge())
                .service(sticky.clone());
            let service = TowerToHyperService::new(stack);
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// Bytes of memory that this process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells the memory of a process");
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
