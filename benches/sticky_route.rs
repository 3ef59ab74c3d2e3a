//! What a request through a pool costs, by the number of members, and beside tower's `Balance` behind a `Buffer`, in the
//! same run.
//!
//! `cargo bench --bench sticky_route`. All contenders are timed in turn, many times; the tables show medians. Requests are
//! built before the clock runs.

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use http::{HeaderValue, Request, Response, header};
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::{Service, ServiceExt};
use tower_proxied::sticky_route::{
    Balance as Policy, Failover, Member, RequestBody, RouteCookie, StickyRoute,
};

use self::support::{interleaved, is_wanted, medians};

const SIZES: [usize; 3] = [2, 100, 10_000];

fn main() {
    if !is_wanted() {
        return;
    }
    by_size();
    beside_balance();
}

/// Answers at once.
#[derive(Clone, Debug)]
struct Answering;

impl<B> Service<Request<B>> for Answering {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

/// Moves the request into a future as large as ours, and does nothing else.
#[derive(Clone, Debug)]
struct Moving;

const OURS: usize = size_of::<<StickyRoute<Answering> as Service<Request<()>>>::Future>();

struct Moved {
    _request: Request<()>,
    _rest: [u8; OURS - size_of::<Request<()>>()],
}

impl Future for Moved {
    type Output = Result<Response<()>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}

impl Service<Request<()>> for Moving {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Moved;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Moved {
        let (parts, body) = black_box(request.into_parts());
        Moved { _request: Request::from_parts(parts, body), _rest: black_box([0; _]) }
    }
}

fn pool(size: usize, balance: Policy, cookie: RouteCookie, attempts: usize) -> StickyRoute<Answering> {
    pool_of(Answering, size, balance, cookie, attempts)
}

fn pool_of<S: Clone>(
    member: S,
    size: usize,
    balance: Policy,
    cookie: RouteCookie,
    attempts: usize,
) -> StickyRoute<S> {
    (0..size)
        .fold(StickyRoute::builder("bench"), |builder, number| {
            builder.member(Member::new(&format!("http-{number}"), member.clone()))
        })
        .cookie(cookie)
        .failover(Failover::default().max_attempts(attempts))
        .balance(balance)
        .build()
        .unwrap()
}

/// How a client is pinned.
#[derive(Clone, Copy)]
enum Pinned {
    /// By what the application's cookie ends in, which the member may see.
    Suffix,
    /// By a token in a header, which the member must not see.
    Header,
    /// By a token in a cookie, which the member must not see: the line is written anew.
    Cookie,
    Not,
}

impl Pinned {
    fn cookie(self) -> RouteCookie {
        match self {
            Self::Suffix | Self::Not => RouteCookie::suffix("session", '.'),
            Self::Header => RouteCookie::opaque([[42; 32]]).in_header("x-route"),
            Self::Cookie => RouteCookie::opaque([[42; 32]]),
        }
    }

    /// A request of each of many clients, of members here and there.
    fn requests(self, sticky: &StickyRoute<Answering>, size: usize) -> Vec<Request<()>> {
        let request = |number: usize| {
            let mut request = Request::new(());
            let headers = request.headers_mut();
            match self {
                Self::Suffix => {
                    let pin = format!("session=0123456789abcdef.http-{}", number % size);
                    headers.insert(header::COOKIE, pin.parse().unwrap());
                }
                Self::Header => {
                    headers.insert(
                        "x-route",
                        answer(sticky.clone(), Request::new(())).headers()["x-route"].clone(),
                    );
                }
                Self::Cookie => {
                    let response = answer(sticky.clone(), Request::new(()));
                    let line = response.headers()[header::SET_COOKIE].as_bytes();
                    let pin = line.split(|byte| *byte == b';').next().unwrap();
                    headers.insert(header::COOKIE, HeaderValue::from_bytes(pin).unwrap());
                }
                Self::Not => {}
            }
            request
        };
        (0..CLIENTS).map(|number| request(number * 7919)).collect()
    }
}

const CLIENTS: usize = 512;

/// The response to one request.
fn answer<S, R>(mut service: S, request: Request<()>) -> Response<R>
where
    S: Service<Request<()>, Response = Response<R>, Error = Infallible>,
{
    let mut future = std::pin::pin!(service.call(request));
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => response,
        Poll::Ready(Err(never)) => match never {},
        Poll::Pending => panic!("members answer at once"),
    }
}

/// Nanoseconds per request, of all in batches, each of which is built before it is timed.
fn timed(requests: &[Request<()>], mut each: impl FnMut(&mut Vec<Request<()>>)) -> f64 {
    let mut nanoseconds = 0;
    let mut batch = Vec::with_capacity(16);
    for requests in requests.chunks(16) {
        batch.extend(requests.iter().cloned());
        let start = Instant::now();
        each(&mut batch);
        nanoseconds += start.elapsed().as_nanos();
        batch.clear();
    }
    nanoseconds as f64 / requests.len() as f64
}

/// Until the member would be called.
fn until_called<S: Service<Request<()>> + Clone>(service: &S, requests: &[Request<()>]) -> f64 {
    let mut futures = Vec::with_capacity(16);
    timed(requests, |batch| {
        futures.clear();
        for request in batch.drain(..) {
            futures.push(service.clone().call(black_box(request)));
        }
    })
}

/// Until the response is dropped.
fn whole<S, R>(service: &S, requests: &[Request<()>]) -> f64
where
    S: Service<Request<()>, Response = Response<R>, Error = Infallible> + Clone,
{
    timed(requests, |batch| {
        for request in batch.drain(..) {
            drop(black_box(answer(service.clone(), black_box(request))));
        }
    })
}

fn by_size() {
    println!("ns per request, by the number of members");
    println!("{:68} {:>10} {:>10} {:>10}", "", SIZES[0], SIZES[1], SIZES[2]);
    let bare = [Request::new(()), Request::new(())];
    line("bare member: whole", |_| whole(&Answering, &bare));
    line("a request moved into a future of ours: until then", |_| until_called(&Moving, &bare));
    for (name, pinned) in [
        ("hit, route in the application's cookie", Pinned::Suffix),
        ("hit, token in a header", Pinned::Header),
        ("hit, token in a cookie", Pinned::Cookie),
        ("fresh pick", Pinned::Not),
    ] {
        let pools = SIZES.map(|size| pool(size, Policy::PowerOfTwo, pinned.cookie(), 1));
        let with_failover = SIZES.map(|size| pool(size, Policy::PowerOfTwo, pinned.cookie(), 2));
        let requests = [0, 1, 2].map(|at| pinned.requests(&pools[at], SIZES[at]));
        line(&format!("{name}: until the member is called"), |at| until_called(&pools[at], &requests[at]));
        line(&format!("{name}: whole, without failover"), |at| whole(&pools[at], &requests[at]));
        line(&format!("{name}: whole"), |at| whole(&with_failover[at], &requests[at]));
    }
    for balance in [Policy::SmoothWeighted, Policy::ByRequests, Policy::LeastBusy, Policy::Rendezvous] {
        let pools = SIZES.map(|size| pool(size, balance, Pinned::Not.cookie(), 1));
        let requests: Vec<Request<()>> = (0..32).map(|_| Request::new(())).collect();
        line(&format!("fresh pick, {balance}: until the member is called"), |at| {
            until_called(&pools[at], &requests)
        });
    }
    let pools = SIZES.map(|size| pool(size, Policy::PowerOfTwo, Pinned::Cookie.cookie(), 2));
    let changes = pools.each_ref().map(StickyRoute::membership);
    let [a, b, c] = interleaved([
        &|| changes[0].set_weight("http-1", 2).unwrap(),
        &|| changes[1].set_weight("http-1", 2).unwrap(),
        &|| changes[2].set_weight("http-1", 2).unwrap(),
    ]);
    println!("{:68} {a:>10.0} {b:>10.0} {c:>10.0}", "a change of weight");
}

fn line(name: &str, time: impl Fn(usize) -> f64) {
    let [a, b, c] = medians([0, 1, 2].map(|at| {
        let time = &time;
        move || time(at)
    }));
    println!("{name:68} {a:>10.0} {b:>10.0} {c:>10.0}");
}

/// Answers after some work, of about five microseconds.
#[derive(Clone, Debug)]
struct Working;

impl<B> Service<Request<B>> for Working {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        (0..8000).for_each(|step: u32| assert!(black_box(step) < 8000));
        ready(Ok(Response::new(())))
    }
}

/// Tasks that send one request after the other, each on a thread of its own; tower's worker has one besides.
fn beside_balance() {
    println!(
        "\nns per request of all threads together, its building included; how many times ours theirs is, and how"
    );
    println!("many times without what the bare member takes");
    println!("{:68} {:>8} {:>8} {:>8} {:>16}", "", "bare", "ours", "Balance", "");
    for threads in [1, 2] {
        for size in SIZES {
            beside("", &Answering, threads, size);
        }
        beside(", at work", &Working, threads, 100);
    }
}

fn beside<S>(how: &str, member: &S, threads: usize, size: usize)
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send>,
    S: Service<Request<RequestBody<()>>, Response = Response<()>, Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    const ROUNDS: usize = 15;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads + 1).build().unwrap();
    let ours = pool_of(member.clone(), size, Policy::PowerOfTwo, Pinned::Suffix.cookie(), 2);
    let theirs = runtime.block_on(async {
        let member = |_| PendingRequests::new(member.clone(), CompleteOnResponse::default());
        let members: Vec<_> = (0..size).map(member).collect();
        Buffer::new(Balance::new(ServiceList::new::<Request<()>>(members)), 1024)
    });
    let of_a_pool = pool(2, Policy::PowerOfTwo, Pinned::Suffix.cookie(), 1);
    for (name, pinned) in [("hit", Pinned::Suffix), ("fresh pick", Pinned::Not)] {
        let requests: Arc<[Request<()>]> = pinned.requests(&of_a_pool, size).into();
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            times[0].push(runtime.block_on(elapsed(member, threads, &requests)));
            times[1].push(runtime.block_on(elapsed(&ours, threads, &requests)));
            times[2].push(runtime.block_on(elapsed(&theirs, threads, &requests)));
        }
        let [bare, ours, theirs] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[ROUNDS / 2]
        });
        let ratios = format!("{:.1}x, {:.1}x", theirs / ours, (theirs - bare) / (ours - bare));
        println!(
            "{:68} {bare:>8.0} {ours:>8.0} {theirs:>8.0} {ratios:>16}",
            format!("{name}, {threads} threads, {size} members{how}")
        );
    }
}

/// Nanoseconds for each request.
async fn elapsed<S>(service: &S, threads: usize, requests: &Arc<[Request<()>]>) -> f64
where
    S: Service<Request<()>, Error: std::fmt::Debug, Response: Send, Future: Send> + Clone + Send + 'static,
{
    const TIMES: usize = 8;
    let start = Instant::now();
    let tasks: Vec<_> = (0..threads)
        .map(|_| {
            let (service, requests) = (service.clone(), requests.clone());
            tokio::spawn(async move {
                for request in (0..TIMES).flat_map(|_| requests.iter()) {
                    drop(black_box(service.clone().oneshot(request.clone()).await.unwrap()));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    start.elapsed().as_nanos() as f64 / (threads * TIMES * requests.len()) as f64
}
