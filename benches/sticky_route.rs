//! What a pool costs by its size, and beside tower's `Balance` behind a `Buffer`, in the same run.
//!
//! `cargo bench --bench sticky_route`. All contenders are timed in turn, many times; the tables show medians.

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use http::{HeaderValue, Request, Response, header};
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::{Service, ServiceExt};
use tower_proxied::sticky_route::{Balance as Policy, Member, RouteCookie, StickyRoute};

use self::support::{interleaved, is_wanted};

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

fn pool(size: usize, balance: Policy) -> StickyRoute<Answering> {
    (0..size)
        .fold(StickyRoute::builder("bench"), |builder, number| {
            builder.member(Member::new(&format!("http-{number}"), Answering))
        })
        .cookie(RouteCookie::opaque([[42; 32]]))
        .balance(balance)
        .build()
        .unwrap()
}

/// One request from its building to its response, which is dropped.
fn exchange<S>(service: &S, cookie: Option<&HeaderValue>) -> Response<S::Body>
where
    S: Answers,
{
    let mut request = Request::new(());
    if let Some(cookie) = cookie {
        request.headers_mut().insert(header::COOKIE, cookie.clone());
    }
    service.answer(black_box(request))
}

trait Answers {
    type Body;

    fn answer(&self, request: Request<()>) -> Response<Self::Body>;
}

impl<S, R> Answers for S
where
    S: Service<Request<()>, Response = Response<R>, Error = Infallible> + Clone,
{
    type Body = R;

    fn answer(&self, request: Request<()>) -> Response<R> {
        let mut future = std::pin::pin!(self.clone().call(request));
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(response)) => response,
            Poll::Ready(Err(never)) => match never {},
            Poll::Pending => panic!("members answer at once"),
        }
    }
}

fn by_size() {
    println!("ns per request, of which the bare member and the building of a request are the first line");
    println!("{:36} {:>10} {:>10} {:>10}", "", SIZES[0], SIZES[1], SIZES[2]);
    let bare = HeaderValue::from_static("bench-route=0123456789abcdef0123456789abcdef");
    let [time] = interleaved([&|| drop(black_box(exchange(&Answering, Some(&bare))))]);
    println!("{:36} {time:>10.0} {time:>10.0} {time:>10.0}", "bare member");

    let pools = SIZES.map(|size| pool(size, Policy::PowerOfTwo));
    let cookies = [0, 1, 2].map(|at| {
        let response = exchange(&pools[at], None);
        let line = response.headers()[header::SET_COOKIE].as_bytes();
        let pin = line.split(|byte| *byte == b';').next().unwrap();
        let pin = HeaderValue::from_bytes(pin).unwrap();
        assert!(!exchange(&pools[at], Some(&pin)).headers().contains_key(header::SET_COOKIE));
        pin
    });
    let [a, b, c] = interleaved([
        &|| drop(black_box(exchange(&pools[0], Some(&cookies[0])))),
        &|| drop(black_box(exchange(&pools[1], Some(&cookies[1])))),
        &|| drop(black_box(exchange(&pools[2], Some(&cookies[2])))),
    ]);
    println!("{:36} {a:>10.0} {b:>10.0} {c:>10.0}", "sticky hit");
    for balance in [Policy::PowerOfTwo, Policy::Rendezvous, Policy::SmoothWeighted, Policy::LeastBusy] {
        let pools = SIZES.map(|size| pool(size, balance));
        let [a, b, c] = interleaved([
            &|| drop(black_box(exchange(&pools[0], None))),
            &|| drop(black_box(exchange(&pools[1], None))),
            &|| drop(black_box(exchange(&pools[2], None))),
        ]);
        println!("{:36} {a:>10.0} {b:>10.0} {c:>10.0}", format!("fresh pick, {balance}"));
    }
    let changes = pools.each_ref().map(StickyRoute::membership);
    let [a, b, c] = interleaved([
        &|| changes[0].set_weight("http-1", 2).unwrap(),
        &|| changes[1].set_weight("http-1", 2).unwrap(),
        &|| changes[2].set_weight("http-1", 2).unwrap(),
    ]);
    println!("{:36} {a:>10.0} {b:>10.0} {c:>10.0}", "a change of weight");
}

/// Tasks that send one request after the other, each on a thread of its own; tower's worker has one besides.
fn beside_balance() {
    const ROUNDS: usize = 11;
    const REQUESTS: usize = 4_000;
    println!("\nns per request of all threads together, fresh picks (power of two choices on both sides)");
    println!("{:36} {:>10} {:>22}", "", "ours", "Balance in Buffer");
    for threads in [1, 2] {
        for size in SIZES {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(threads + 1).build().unwrap();
            let ours = pool(size, Policy::PowerOfTwo);
            let theirs = runtime.block_on(async {
                let members =
                    (0..size).map(|_| PendingRequests::new(Answering, CompleteOnResponse::default()));
                Buffer::new(Balance::new(ServiceList::new::<Request<()>>(members)), 1024)
            });
            let mut times = [Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                times[0].push(runtime.block_on(elapsed(&ours, threads, REQUESTS)));
                times[1].push(runtime.block_on(elapsed(&theirs, threads, REQUESTS)));
            }
            let [ours, theirs] = times.map(|mut times| {
                times.sort_by(f64::total_cmp);
                times[ROUNDS / 2]
            });
            let ratio = format!("{theirs:.0} ({:.1}x)", theirs / ours);
            println!("{:36} {ours:>10.0} {ratio:>22}", format!("{threads} threads, {size} members"));
        }
    }
}

async fn elapsed<S>(service: &S, threads: usize, requests: usize) -> f64
where
    S: Service<Request<()>, Error: std::fmt::Debug, Response: Send, Future: Send> + Clone + Send + 'static,
{
    let start = Instant::now();
    let tasks: Vec<_> = (0..threads)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move {
                for _ in 0..requests {
                    drop(black_box(service.clone().oneshot(Request::new(())).await.unwrap()));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    start.elapsed().as_nanos() as f64 / (threads * requests) as f64
}
