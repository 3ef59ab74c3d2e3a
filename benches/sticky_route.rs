//! What a request through a pool costs, by the number of members, and beside tower's `Balance` behind a `Buffer`, in the
//! same run.
//!
//! `cargo bench --bench sticky_route`. All contenders are timed in turn, many times; the tables show medians. Requests are
//! built before the clock runs.

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use http::{HeaderValue, Request, Response, header};
use tower::Service;
use tower_proxied::sticky_route::{Balance as Policy, Failover, Member, RouteCookie, StickyRoute};

use self::support::{interleaved, is_wanted, medians};

const SIZES: [usize; 3] = [2, 100, 10_000];

fn main() {
    if !is_wanted() {
        return;
    }
    by_size();
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

fn pool(size: usize, balance: Policy, cookie: RouteCookie, attempts: usize) -> StickyRoute<Answering> {
    (0..size)
        .fold(StickyRoute::builder("bench"), |builder, number| {
            builder.member(Member::new(&format!("http-{number}"), Answering))
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
    println!("{:52} {:>10} {:>10} {:>10}", "", SIZES[0], SIZES[1], SIZES[2]);
    let bare = [Request::new(()), Request::new(())];
    let [time] = medians([|| whole(&Answering, &bare)]);
    println!("{:52} {time:>10.0} {time:>10.0} {time:>10.0}", "bare member, whole");
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
    println!("{:52} {a:>10.0} {b:>10.0} {c:>10.0}", "a change of weight");
}

fn line(name: &str, time: impl Fn(usize) -> f64) {
    let [a, b, c] = medians([0, 1, 2].map(|at| {
        let time = &time;
        move || time(at)
    }));
    println!("{name:52} {a:>10.0} {b:>10.0} {c:>10.0}");
}
