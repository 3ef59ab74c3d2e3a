//! Three front ends and five members in a simulated network, with kills and partitions: each seed is one course of events.
//!
//! The front ends share nothing but the key and the names of the members. `SIMULATION_SEEDS=2000` runs more than the
//! seeds of each time, and `SIMULATION_SEEDS=7..8` the one that failed.

#[path = "sticky_route_simulation/browsers.rs"]
mod browsers;
#[path = "sticky_route_simulation/connector.rs"]
mod connector;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::num::NonZero;
use std::ops::Range;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::ServiceBuilder;
use tower::timeout::TimeoutLayer;
use tower_proxied::front::{Target, UpstreamLayer};
use tower_proxied::sticky_route::{
    Balance, Decision, Failover, Member, Phase, RequestBody, RouteCookie, StickyRoute,
};
use tower_proxied::{ForwardedForLayer, PeerAddr, TrustedProxies};
use turmoil::net::TcpListener;

use self::browsers::Browsers;
use self::connector::Connector;

const FRONTS: [&str; 3] = ["front-1", "front-2", "front-3"];
const MEMBERS: [&str; 5] = ["http-1", "http-2", "http-3", "http-4", "http-5"];
const BROWSERS: &str = "browsers";
const CLIENTS: usize = 5;

const SEEDS: Range<u64> = 0..50;

/// The longest that a member stays ejected.
const EJECTED: Duration = Duration::from_millis(300);

#[test]
fn front_ends_that_share_nothing_agree() {
    let seeds = seeds();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let mut counts = Counts::default();
    std::thread::scope(|scope| {
        let share = |first: u64| {
            let seeds = seeds.clone();
            scope.spawn(move || {
                let mut counts = Counts::default();
                for seed in seeds.skip(first as usize).step_by(threads as usize) {
                    let course = catch_unwind(|| Course::new(seed).run());
                    counts.add(course.unwrap_or_else(|_| panic!("seed {seed}")));
                }
                counts
            })
        };
        let shares: Vec<_> = (0..threads).map(share).collect();
        shares.into_iter().for_each(|share| counts.add(share.join().unwrap()));
    });
    println!("seeds {seeds:?}: {counts:?}");
    if seeds == SEEDS {
        assert!(counts.moved_posts > 0 && counts.failed_posts > 0 && counts.agreed > 0, "faults were met");
        assert!(counts.came_back > 0 && counts.stayed > 0, "members came back");
    }
}

fn seeds() -> Range<u64> {
    let Ok(asked) = std::env::var("SIMULATION_SEEDS") else { return SEEDS };
    let (from, to) = asked.split_once("..").unwrap_or(("0", &asked));
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// What was seen, over all seeds.
#[derive(Debug, Default)]
struct Counts {
    gets: usize,
    posts: usize,
    /// Answered by a member other than the first that was tried.
    moved_gets: usize,
    moved_posts: usize,
    /// Whether a member got them is not known: they must not be sent again.
    failed_posts: usize,
    /// Answers of a substitute, and pairs of front ends that had the same one.
    substitutes: usize,
    agreed: usize,
    /// Clients whose member came back, and clients that stayed where they were pinned anew.
    came_back: usize,
    stayed: usize,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.gets += other.gets;
        self.posts += other.posts;
        self.moved_gets += other.moved_gets;
        self.moved_posts += other.moved_posts;
        self.failed_posts += other.failed_posts;
        self.substitutes += other.substitutes;
        self.agreed += other.agreed;
        self.came_back += other.came_back;
        self.stayed += other.stayed;
    }
}

/// One simulated network, from its seed.
struct Course {
    sim: turmoil::Sim<'static>,
    random: Random,
    world: World,
}

/// What scripts see and leave.
#[derive(Clone, Default)]
struct World(Rc<RefCell<Seen>>);

#[derive(Default)]
struct Seen {
    counts: Counts,
    /// By client, where it is pinned.
    homes: BTreeMap<usize, Home>,
    /// Clients that a substitute served meanwhile.
    away: BTreeSet<usize>,
    /// By request, the members that executed it.
    executed: BTreeMap<String, Vec<&'static str>>,
    in_flight: Vec<Box<dyn Fn() -> usize>>,
    faults: Faults,
    keeps_pin: bool,
    /// What the browsers do next.
    script: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

struct Home {
    pin: String,
    route: String,
}

#[derive(Clone, Debug, Default)]
struct Faults {
    crashed: BTreeSet<usize>,
    /// Front end and member.
    cut: BTreeSet<(usize, usize)>,
}

impl Faults {
    /// The members that a front end reaches.
    fn reached(&self, front: usize) -> BTreeSet<&'static str> {
        let is_reached =
            |member: &usize| !self.crashed.contains(member) && !self.cut.contains(&(front, *member));
        (0..MEMBERS.len()).filter(is_reached).map(|member| MEMBERS[member]).collect()
    }

    /// So that each front end reaches one member at least.
    fn draw(random: &mut Random) -> Self {
        loop {
            let mut faults = Self::default();
            for _ in 0..1 + random.below(3) {
                faults.crashed.insert(random.below(MEMBERS.len()));
            }
            for _ in 0..random.below(5) {
                faults.cut.insert((random.below(FRONTS.len()), random.below(MEMBERS.len())));
            }
            if (0..FRONTS.len()).all(|front| !faults.reached(front).is_empty()) {
                return faults;
            }
        }
    }
}

impl Course {
    fn new(seed: u64) -> Self {
        let keeps_pin = seed.is_multiple_of(2);
        let balance = if seed % 4 < 2 { Balance::Rendezvous } else { Balance::PowerOfTwo };
        let mut random = Random(seed);
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .enable_random_order()
            .tick_duration(Duration::from_millis(10))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(15))
            .simulation_duration(Duration::from_secs(600))
            .build();
        let world = World::default();
        world.0.borrow_mut().keeps_pin = keeps_pin;
        if balance == Balance::PowerOfTwo {
            // Chance would decide otherwise, which is not of this seed.
            for client in 0..CLIENTS {
                let route = MEMBERS[random.below(MEMBERS.len())].to_owned();
                let home = Home { pin: format!("shop-route={route}"), route };
                world.0.borrow_mut().homes.insert(client, home);
            }
        }
        for name in MEMBERS {
            let world = world.clone();
            sim.host(name, move || member(name, world.clone()));
        }
        for name in FRONTS {
            let world = world.clone();
            sim.host(name, move || front_end(keeps_pin, balance, world.clone()));
        }
        let scripts = world.clone();
        sim.host(BROWSERS, move || {
            let script = scripts.0.borrow_mut().script.take();
            async {
                if let Some(script) = script {
                    script.await;
                }
                Ok(())
            }
        });
        Self { sim, random, world }
    }

    fn run(mut self) -> Counts {
        self.script(log_in);
        for _ in 0..2 {
            let faults = Faults::draw(&mut self.random);
            self.under_load(|course| course.strike(faults));
            self.script(settle);
            self.script(compare);
            self.under_load(Self::heal);
            self.script(settle);
            self.script(all_is_well);
        }
        let mut seen = self.world.0.borrow_mut();
        for (request, members) in &seen.executed {
            assert!(members.len() <= 1, "{request} was executed by {members:?}");
        }
        std::mem::take(&mut seen.counts)
    }

    /// Runs a script to its end.
    fn script<F: Future<Output = ()> + 'static>(&mut self, script: fn(World, Random) -> F) {
        self.start(script);
        self.finish();
    }

    /// Something happens while requests run.
    fn under_load(&mut self, event: impl FnOnce(&mut Self)) {
        self.start(load);
        for _ in 0..10 + self.random.below(60) {
            self.sim.step().unwrap();
        }
        event(self);
        self.finish();
    }

    fn start<F: Future<Output = ()> + 'static>(&mut self, script: fn(World, Random) -> F) {
        let script = script(self.world.clone(), Random(self.random.next()));
        self.world.0.borrow_mut().script = Some(Box::pin(script));
        self.sim.bounce(BROWSERS);
    }

    fn finish(&mut self) {
        while self.sim.is_host_running(BROWSERS) {
            self.sim.step().unwrap();
        }
        let seen = self.world.0.borrow();
        assert_eq!(seen.in_flight.iter().map(|count| count()).sum::<usize>(), 0, "requests in flight");
    }

    fn strike(&mut self, faults: Faults) {
        for member in &faults.crashed {
            self.sim.crash(MEMBERS[*member]);
        }
        for (front, member) in &faults.cut {
            self.sim.partition(FRONTS[*front], MEMBERS[*member]);
        }
        self.world.0.borrow_mut().faults = faults;
    }

    fn heal(&mut self) {
        let faults = std::mem::take(&mut self.world.0.borrow_mut().faults);
        for (front, member) in &faults.cut {
            self.sim.repair(FRONTS[*front], MEMBERS[*member]);
        }
        for member in &faults.crashed {
            self.sim.bounce(MEMBERS[*member]);
        }
    }
}

/// Each client gets its pin, from whichever front end it comes to first.
async fn log_in(world: World, mut random: Random) {
    let browsers = Browsers::new(world);
    for client in 0..CLIENTS {
        let is_new = !browsers.world.0.borrow().homes.contains_key(&client);
        let answer = browsers.get(client, random.below(FRONTS.len())).await;
        assert_eq!(answer.set_cookie.is_some(), is_new, "new clients are pinned");
        browsers.keep_cookie(client, answer);
    }
}

/// All clients at once, each of them through all front ends, reading and writing.
async fn load(world: World, random: Random) {
    each_client(world, random, async |browsers, client, mut random| {
        for _ in 0..8 {
            sleep(Duration::from_millis(random.below(60) as u64)).await;
            let front = random.below(FRONTS.len());
            let answer = if random.below(3) == 0 {
                browsers.post(client, front).await
            } else {
                Some(browsers.get(client, front).await)
            };
            answer.into_iter().for_each(|answer| browsers.keep_cookie(client, answer));
        }
    })
    .await;
}

/// Until every front end has found out what is up and what is down, and connections that broke are gone.
async fn settle(world: World, random: Random) {
    each_client(world, random, async |browsers, client, _| {
        for _ in 0..2 {
            sleep(2 * EJECTED).await;
            for front in 0..FRONTS.len() {
                let answer = browsers.get(client, front).await;
                browsers.keep_cookie(client, answer);
            }
        }
    })
    .await;
}

/// While members are down: the same cookie reaches the same member through all front ends that reach it.
async fn compare(world: World, random: Random) {
    each_client(world, random, async |browsers, client, _| {
        let (faults, keeps_pin) = {
            let seen = browsers.world.0.borrow();
            (seen.faults.clone(), seen.keeps_pin)
        };
        let mut answers = Vec::new();
        for front in 0..FRONTS.len() {
            let reached = faults.reached(front);
            let answer = browsers.get(client, front).await;
            let home = browsers.home(client);
            assert!(reached.contains(&*answer.route), "{answer:?} by {front} with {faults:?}");
            if reached.contains(&*home) {
                assert_eq!((&*answer.outcome, &answer.route), ("hit", &home), "client {client} at {front}");
            } else {
                assert_eq!(answer.outcome, if keeps_pin { "detour" } else { "repinned" });
                let seen = &mut *browsers.world.0.borrow_mut();
                seen.counts.substitutes += 1;
                seen.away.insert(client);
            }
            answers.push((reached, answer));
        }
        for (at, (reached, answer)) in answers.iter().enumerate() {
            for (others, other) in &answers[at + 1..] {
                // Otherwise one of them reaches the client's member, or a better substitute, and the other does not.
                if reached.contains(&*other.route) && others.contains(&*answer.route) {
                    assert_eq!(answer.route, other.route, "client {client} with {faults:?}");
                    let is_substitute = answer.outcome != "hit";
                    browsers.world.0.borrow_mut().counts.agreed += usize::from(is_substitute);
                }
            }
        }
        answers.into_iter().for_each(|(_, answer)| browsers.keep_cookie(client, answer));
    })
    .await;
}

/// All is up: everybody is at home, through all front ends.
async fn all_is_well(world: World, random: Random) {
    each_client(world, random, async |browsers, client, _| {
        for front in 0..FRONTS.len() {
            let answer = browsers.get(client, front).await;
            assert_eq!(
                (&*answer.outcome, answer.route),
                ("hit", browsers.home(client)),
                "{client} at {front}"
            );
        }
        let seen = &mut *browsers.world.0.borrow_mut();
        if seen.away.remove(&client) {
            *(if seen.keeps_pin { &mut seen.counts.came_back } else { &mut seen.counts.stayed }) += 1;
        }
    })
    .await;
}

async fn each_client(
    world: World,
    mut random: Random,
    script: impl AsyncFn(Browsers, usize, Random) + Copy + 'static,
) {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (browsers, random) = (Browsers::new(world.clone()), Random(random.next()));
        clients.spawn_local(async move { script(browsers, client, random).await });
    }
    while let Some(finished) = clients.join_next().await {
        finished.unwrap();
    }
}

/// An application server that answers after a while, and tells who executed what.
async fn member(name: &'static str, world: World) -> turmoil::Result {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let world = world.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let world = world.clone();
                async move {
                    if request.method() == Method::POST {
                        let id = request.uri().path().to_owned();
                        world.0.borrow_mut().executed.entry(id).or_default().push(name);
                    }
                    sleep(Duration::from_millis(20)).await;
                    Ok::<_, io::Error>(Response::new(Full::new(Bytes::from_static(name.as_bytes()))))
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn front_end(keeps_pin: bool, balance: Balance, world: World) -> turmoil::Result {
    let client: Client<_, RequestBody<Incoming>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(2).build(Connector);
    let failover = Failover::default().max_attempts(MEMBERS.len()).eject_for(EJECTED / 2, EJECTED);
    let mut builder = StickyRoute::builder("shop")
        .cookie(match balance {
            Balance::Rendezvous => RouteCookie::opaque([[7; 32]]),
            _ => RouteCookie::plain(),
        })
        .balance(balance)
        .failover(if keeps_pin { failover.keep_pin() } else { failover })
        .classify(Phase::of_hyper_util)
        .clock(|| Instant::now().into_std());
    for name in MEMBERS {
        let upstream = ServiceBuilder::new()
            .layer(UpstreamLayer::new(Target::parse(&format!("http://{name}"))?))
            .layer(TimeoutLayer::new(Duration::from_millis(300)))
            .service(client.clone());
        builder = builder.member(Member::new(name, upstream));
    }
    let sticky = builder.build()?;
    let members = sticky.membership();
    let in_flight = move || members.status().iter().map(|member| member.in_flight()).sum();
    world.0.borrow_mut().in_flight.push(Box::new(in_flight));
    let sticky = ServiceBuilder::new()
        .map_response(|mut response: Response<_>| {
            // For the client of this test, which stands outside of the process.
            if let Some(decision) = response.extensions().get::<Decision>().cloned() {
                response.headers_mut().insert("x-outcome", decision.outcome().to_string().parse().unwrap());
                response.headers_mut().insert("x-attempts", decision.attempts().into());
            }
            response
        })
        .service(sticky.errors_to_502());

    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        let stack = ServiceBuilder::new()
            .layer(PeerAddr::layer(peer))
            // The script speaks for all clients.
            .layer(ForwardedForLayer::x_forwarded_for(TrustedProxies::private()))
            .service(sticky.clone());
        tokio::task::spawn_local(async move {
            let service = TowerToHyperService::new(stack);
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
