//! What StickyRoute takes from the heap: nothing until it calls the member, be it pinned or picked, but what the lines of
//! `Cookie` cost that it takes the pin out of; and then what failover keeps, the decision, and the cookie that it sets.

mod counting;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use counting::{Taken, taken};
use http::{Method, Request, Response};
use tower::Service;
use tower_proxied::sticky_route::{
    Balance, Decision, Ended, Failover, Member, Observer, Outcome, RequestBody, RouteCookie, StickyRoute,
};

#[derive(Clone)]
struct Answers;

impl Service<Request<RequestBody<()>>> for Answers {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<()>>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

fn pool(cookie: RouteCookie, members: usize) -> StickyRoute<Answers> {
    let builder = StickyRoute::builder("shop").cookie(cookie);
    let builder =
        (0..members).fold(builder, |builder, at| builder.member(Member::new(&format!("m{at}"), Answers)));
    builder.build().unwrap()
}

/// What the call takes, and what becomes of the request.
fn call(sticky: &StickyRoute<Answers>, line: (&str, &str)) -> (Taken, Response<()>) {
    let mut sticky = sticky.clone();
    let request = || Request::builder().uri("/app?r=s.m1").header(line.0, line.1).body(()).unwrap();
    // The first use of a snapshot by a thread sets up what guards it.
    drop(sticky.call(request()));
    let request = request();
    let (taken, answer) = taken(|| sticky.call(request));
    let Poll::Ready(response) = pin!(answer).poll(&mut Context::from_waker(Waker::noop())) else {
        unreachable!("nothing here waits")
    };
    (taken, response.unwrap().map(|_| ()))
}

fn outcome(response: &Response<()>) -> Outcome {
    response.extensions().get::<Decision>().unwrap().outcome()
}

#[test]
fn the_lookup_of_a_hit_takes_nothing() {
    let long = format!("a={}; s=x.m1", "b".repeat(8000));
    for members in [2, 10_000] {
        for (cookie, line) in [
            (RouteCookie::suffix("s", '.'), "s=abc.m1"),
            (RouteCookie::suffix("s", '.'), "a=1; s=\"a.b.m1\"; c=2"),
            (RouteCookie::suffix("s", '.'), &*long),
            (RouteCookie::whole_value("s"), "s=gone; s=m1"),
            (RouteCookie::suffix("s", '.').url_parameter_or_cookie("r"), "s=x.m0"),
            (RouteCookie::suffix("s", '.').or_url_parameter("r"), "t=1"),
        ] {
            let (taken, response) = call(&pool(cookie, members), ("cookie", line));
            assert_eq!((outcome(&response), taken), (Outcome::Hit, Taken::default()), "{line:.40}");
        }
    }
}

/// A pin in a header is taken out without a copy, so that with tokens, dates and seals too the whole way counts.
#[test]
fn tokens_and_seals_take_nothing() {
    let opaque = || RouteCookie::opaque([[2; 32], [1; 32]]).in_header("x-route");
    let hour = Duration::from_secs(3600);
    for members in [2, 1000] {
        for cookie in [opaque(), opaque().max_idle(hour), opaque().max_idle(hour).max_life(hour)] {
            let sticky = pool(cookie, members);
            let (_, issued) = call(&sticky, ("x-other", "1"));
            let pin = std::str::from_utf8(issued.headers()["x-route"].as_bytes()).unwrap();
            let (taken, response) = call(&sticky, ("x-route", pin));
            assert_eq!((outcome(&response), taken), (Outcome::Hit, Taken::default()), "{pin}");
        }
    }
    let forged = format!("{}.1.1.{}", "0".repeat(32), "0".repeat(32));
    let sticky = pool(opaque().max_idle(hour), 2);
    let (taken, response) = call(&sticky, ("x-route", &forged));
    assert_eq!((outcome(&response), taken), (Outcome::Unknown, Taken::default()));
}

/// One decision in the used extensions of the request, and one in those of the response, whose map is new: two more.
#[test]
fn decisions_and_observers_cost_a_box_each() {
    struct Silent;

    impl Observer for Silent {
        fn request_ended(&self, ended: &Ended<'_>) {
            std::hint::black_box(ended.took());
        }
    }

    let builder = || {
        StickyRoute::builder("shop").cookie(RouteCookie::suffix("s", '.')).member(Member::new("m1", Answers))
    };
    for (mut sticky, allocations) in
        [(builder().build().unwrap(), 4), (builder().observer(Silent).build().unwrap(), 5)]
    {
        let exchange = |sticky: &mut StickyRoute<Answers>| {
            let request = Request::builder().header("cookie", "s=abc.m1").extension(1_u8).body(()).unwrap();
            taken(|| pin!(sticky.call(request)).poll(&mut Context::from_waker(Waker::noop())))
        };
        // The first use of a snapshot by a thread sets up what guards it.
        drop(exchange(&mut sticky));
        let (taken, response) = exchange(&mut sticky);
        let Poll::Ready(Ok(response)) = response else { unreachable!("nothing here waits") };
        assert_eq!(response.extensions().get::<Decision>().unwrap().outcome(), Outcome::Hit);
        assert_eq!(taken.allocations, allocations);
    }
}

/// To the four of the decisions one place is added, where somebody may ask for the body, one more where for when it was
/// read, and a copy of the head (the map of its headers, of its extensions, and the one that is in there) where a second member could get it.
#[test]
fn failover_costs_where_it_is_configured() {
    let second = Duration::from_secs(1);
    let default = Failover::default;
    for (members, failover, allocations) in [
        (1, default(), 4),
        (1, default().retry_budget(20, 10), 4),
        (1, default().acquire_timeout(second), 4),
        (1, default().replay(64 * 1024), 4),
        (1, default().trust_idempotency_key(), 4),
        (1, default().head_timeout(second), 6),
        (2, default(), 11),
        (
            2,
            default().retry_budget(20, 10).acquire_timeout(second).replay(64 * 1024).head_timeout(second),
            12,
        ),
    ] {
        let builder = StickyRoute::builder("shop").cookie(RouteCookie::suffix("s", '.')).failover(failover);
        let builder = (1..=members)
            .fold(builder, |builder, at| builder.member(Member::new(&format!("m{at}"), Answers)));
        let mut sticky = builder.build().unwrap();
        let mut exchange = || {
            let request = Request::builder().header("cookie", "s=abc.m1").extension(1_u8).body(()).unwrap();
            taken(|| pin!(sticky.call(request)).poll(&mut Context::from_waker(Waker::noop())))
        };
        drop(exchange());
        let (taken, response) = exchange();
        assert!(response.is_ready());
        assert_eq!(taken.allocations, allocations, "{members}");
    }
}

/// The lines are written anew.
#[test]
fn a_pin_that_is_taken_out_costs_its_line() {
    let sticky = pool(RouteCookie::plain(), 2);
    for (line, allocations) in [("x=1", 0), ("shop-route=m1", 1), ("x=1; shop-route=m1; y=2", 3)] {
        let (taken, response) = call(&sticky, ("cookie", line));
        assert_eq!(taken.allocations, allocations, "{line}: {taken:?} {}", outcome(&response));
    }
}

#[test]
fn fresh_picks_without_a_lock_take_nothing() {
    for members in [2, 10_000] {
        for balance in [Balance::PowerOfTwo, Balance::SmoothWeighted] {
            let builder = StickyRoute::builder("shop").cookie(RouteCookie::plain()).balance(balance);
            let names = (0..members).map(|at| format!("m{at}"));
            let sticky = names
                .fold(builder, |builder, name| builder.member(Member::new(&name, Answers)))
                .build()
                .unwrap();
            let (taken, response) = call(&sticky, ("x-other", "1"));
            assert_eq!((outcome(&response), taken), (Outcome::New, Taken::default()), "{balance}");
        }
    }
}

/// From the call to the response, with the cookie that the application sets, and ours.
#[test]
fn whole_exchanges() {
    let whole = |cookie: RouteCookie, attempts: usize, method: Method, line: &str| {
        let members = ["m0", "m1"].map(|name| Member::new(name, Answers));
        let builder =
            StickyRoute::builder("shop").cookie(cookie).failover(Failover::default().max_attempts(attempts));
        let mut sticky =
            members.into_iter().fold(builder, |builder, member| builder.member(member)).build().unwrap();
        let request =
            || Request::builder().method(method.clone()).uri("/app").header("cookie", line).body(()).unwrap();
        let mut exchange = |request| {
            let Poll::Ready(response) =
                pin!(sticky.call(request)).poll(&mut Context::from_waker(Waker::noop()))
            else {
                unreachable!("nothing here waits")
            };
            response.unwrap().map(|_| ())
        };
        // The first copy of a line makes it one that is shared: of either member.
        (0..64).for_each(|_| drop(exchange(request())));
        let request = request();
        let (taken, response) = taken(|| exchange(request));
        (outcome(&response), taken.allocations)
    };
    let suffix = || RouteCookie::suffix("s", '.');
    // The decision, for the member and for whoever gets the response: neither has extensions before.
    assert_eq!(whole(suffix(), 1, Method::GET, "s=x.m1"), (Outcome::Hit, 6));
    // And what failover keeps: the fields of the head in two pieces, shares in its target and its one line, and the place
    // that the body comes home to.
    assert_eq!(whole(suffix(), 2, Method::GET, "s=x.m1"), (Outcome::Hit, 11));
    // What is not sent twice is not kept.
    assert_eq!(whole(suffix(), 2, Method::POST, "s=x.m1"), (Outcome::Hit, 6));
    // The decisions, and the fields of the response in two pieces: the lines themselves are shared.
    assert_eq!(whole(RouteCookie::plain(), 1, Method::GET, "x=1"), (Outcome::New, 8));
}
