//! What a pool tells of itself, to members and to an observer.

use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use proptest::prelude::*;
use tower::{Service, ServiceExt};
use tower_proxied::sticky_route::{
    Change, Decision, Ended, Failover, Failure, Member, Observer, Phase, RequestBody, Role, Route,
    RouteCookie, State, StickyRoute,
};

/// What a member does with requests.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answers(u16),
    CannotBeReached,
    Breaks,
    IsNeverReady,
    IsNotReadyYet,
    Waits,
}

use Does::{Answers, Breaks, CannotBeReached, IsNeverReady, IsNotReadyYet, Waits};

/// Answers with the decision that it was given.
#[derive(Clone)]
struct Scripted(Does);

impl Service<Request<RequestBody<()>>> for Scripted {
    type Response = Response<String>;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, &'static str>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        match self.0 {
            IsNeverReady => Poll::Ready(Err("not ready")),
            IsNotReadyYet => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<RequestBody<()>>) -> Self::Future {
        let does = self.0;
        Box::pin(async move {
            match does {
                Answers(status) => {
                    let decision = request.extensions().get::<Decision>().unwrap().to_string();
                    Ok(Response::builder().status(status).body(decision).unwrap())
                }
                CannotBeReached => Err("refused"),
                Waits => pending().await,
                _ => Err("reset"),
            }
        })
    }
}

#[derive(Default)]
struct Recording(Mutex<Vec<String>>);

impl Recording {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Recording {
    fn request_ended(&self, ended: &Ended<'_>) {
        self.note(format!("{} {:?} {:?}", ended.decision(), ended.end(), ended.took()));
    }

    fn member_failed(&self, route: &Route, attempt: usize, failure: Failure) {
        self.note(format!("{route} {failure:?} {attempt}"));
    }

    fn member_changed(&self, route: &Route, change: Change) {
        self.note(format!("{route} {change:?}"));
    }
}

struct Pool {
    sticky: StickyRoute<Scripted>,
    now: Arc<Mutex<Instant>>,
}

impl Pool {
    fn new(a: Does, b: Does, observer: impl Observer) -> Self {
        let now = Arc::new(Mutex::new(Instant::now()));
        let clock = now.clone();
        let failover = Failover::default()
            .eject_after(1)
            .retry_on_status([StatusCode::TOO_MANY_REQUESTS])
            .eject_on_status([StatusCode::INTERNAL_SERVER_ERROR]);
        let sticky = StickyRoute::builder("pool")
            .member(Member::new("a", Scripted(a)))
            .member(Member::new("b", Scripted(b)).role(Role::Standby))
            .cookie(RouteCookie::plain())
            .failover(failover)
            .classify(|error| match error.downcast_ref() {
                Some(&"refused") => Phase::Connect,
                _ => Phase::Sent,
            })
            .clock(move || *clock.lock().unwrap())
            .observer(observer)
            .build()
            .unwrap();
        Self { sticky, now }
    }

    fn pass(&self, seconds: u64) {
        *self.now.lock().unwrap() += Duration::from_secs(seconds);
    }

    /// One look at the future, and a second later it is dropped if it waits.
    fn send(&self, method: &str, cookie: &str) -> Option<Result<Response<String>, &'static str>> {
        let request = Request::builder().method(method).header("cookie", cookie).body(()).unwrap();
        let mut future = Box::pin(self.sticky.clone().oneshot(request));
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.pass(1);
        drop(future);
        match polled {
            Poll::Ready(result) => Some(result.map(|response| {
                let (parts, _body) = response.into_parts();
                Response::from_parts(parts, String::new())
            })),
            Poll::Pending => None,
        }
    }
}

fn situations() -> Vec<(Does, Does, &'static str, &'static str, &'static [&'static str])> {
    let (own, new) = ("pool-route=a", "x=1");
    vec![
        (Answers(200), Waits, "GET", own, &["route=a outcome=hit attempts=1 Answered(200) 0ns"]),
        (Answers(404), Waits, "GET", new, &["route=a outcome=new attempts=1 Answered(404) 0ns"]),
        (
            Answers(200),
            Waits,
            "GET",
            "pool-route=z",
            &["route=a outcome=unknown attempts=1 Answered(200) 0ns"],
        ),
        (
            CannotBeReached,
            Answers(200),
            "POST",
            own,
            &["a Error(Connect) 1", "a Ejected", "route=b outcome=repinned attempts=2 Answered(200) 0ns"],
        ),
        (
            IsNeverReady,
            Answers(200),
            "POST",
            new,
            &["a Error(Connect) 1", "a Ejected", "route=b outcome=new attempts=2 Answered(200) 0ns"],
        ),
        (
            Breaks,
            Answers(200),
            "POST",
            own,
            &["a Error(Sent) 1", "route=a outcome=hit attempts=1 Failed 0ns"],
        ),
        (
            Breaks,
            Answers(503),
            "GET",
            own,
            &["a Error(Sent) 1", "route=b outcome=detour attempts=2 Answered(503) 0ns"],
        ),
        (
            CannotBeReached,
            IsNeverReady,
            "GET",
            own,
            &[
                "a Error(Connect) 1",
                "a Ejected",
                "b Error(Connect) 2",
                // No more than half of the members are ejected.
                "route=b outcome=detour attempts=2 Failed 0ns",
            ],
        ),
        (
            Answers(429),
            Answers(200),
            "GET",
            own,
            &["a Status(429) 1", "route=b outcome=repinned attempts=2 Answered(200) 0ns"],
        ),
        (
            Answers(500),
            Waits,
            "GET",
            own,
            &["a Status(500) 1", "a Ejected", "route=a outcome=hit attempts=1 Answered(500) 0ns"],
        ),
        (Waits, Waits, "GET", own, &["route=a outcome=hit attempts=1 Cancelled 1s"]),
        (IsNotReadyYet, Waits, "GET", new, &["route=a outcome=new attempts=1 Cancelled 1s"]),
        (
            Breaks,
            IsNotReadyYet,
            "GET",
            own,
            &["a Error(Sent) 1", "route=b outcome=detour attempts=2 Cancelled 1s"],
        ),
    ]
}

#[test]
fn an_observer_is_told_of_each_request_once() {
    for (a, b, method, cookie, expected) in situations() {
        let recording = Arc::new(Recording::default());
        let pool = Pool::new(a, b, recording.clone());
        drop(pool.send(method, cookie));
        assert_eq!(recording.taken(), expected, "{a:?} {b:?} {method} {cookie}");
    }
}

#[test]
fn an_observer_is_told_of_members() {
    let recording = Arc::new(Recording::default());
    let pool = Pool::new(CannotBeReached, Answers(200), recording.clone());
    let members = pool.sticky.membership();
    drop(pool.send("GET", "pool-route=a"));
    recording.taken();

    members.insert(Member::new("a", Scripted(Answers(200)))).unwrap();
    pool.pass(10);
    drop(pool.send("GET", "pool-route=a"));
    let recovered = ["a Inserted", "a Recovered", "route=a outcome=hit attempts=1 Answered(200) 0ns"];
    assert_eq!(recording.taken(), recovered);

    members.set_state("a", State::Disabled).unwrap();
    drop(members.drain("b", Duration::from_secs(5)).unwrap());
    assert_eq!(recording.taken(), ["a Set(Disabled)", "b Set(Drain)"]);
    drop(pool.send("GET", "x=1"));
    assert_eq!(recording.taken(), ["route=- outcome=new attempts=0 Refused 0ns"]);
    // Nobody has to look at the answer.
    drop(pool.sticky.clone().call(Request::new(())));
    assert_eq!(recording.taken(), ["route=- outcome=new attempts=0 Refused 0ns"]);

    members.remove("b").unwrap();
    assert!(members.remove("b").is_err() && members.set_state("b", State::Ok).is_err());
    assert_eq!(recording.taken(), ["b Removed"]);
    members.set_successor("b", "a").unwrap();
    members.remove("b").unwrap();
    assert!(recording.taken().is_empty(), "it was no member");
}

proptest! {
    #[test]
    fn whatever_becomes_of_requests_each_is_told_once(
        (a, b) in (any_deed(), any_deed()),
        requests in prop::collection::vec((any::<bool>(), prop::sample::select(vec!["pool-route=a", "pool-route=b", "x"])), 0..12),
    ) {
        let recording = Arc::new(Recording::default());
        let pool = Pool::new(a, b, recording.clone());
        for (is_safe, cookie) in &requests {
            drop(pool.send(if *is_safe { "GET" } else { "POST" }, cookie));
        }
        let told = recording.taken();
        let ended = told.iter().filter(|line| line.starts_with("route=")).count();
        prop_assert_eq!(ended, requests.len(), "{:?}", told);
        prop_assert!(pool.sticky.membership().status().iter().all(|member| member.in_flight() == 0));
    }
}

fn any_deed() -> impl Strategy<Value = Does> {
    let answers = prop::sample::select(vec![200, 404, 429, 500, 503]).prop_map(Answers);
    let fails = prop::sample::select(vec![CannotBeReached, Breaks, IsNeverReady, IsNotReadyYet, Waits]);
    prop_oneof![answers, fails]
}

struct Panicking;

impl Observer for Panicking {
    fn request_ended(&self, _: &Ended<'_>) {
        panic!("request_ended");
    }

    fn member_failed(&self, _: &Route, _: usize, _: Failure) {
        panic!("member_failed");
    }

    fn member_changed(&self, _: &Route, _: Change) {
        panic!("member_changed");
    }
}

#[test]
fn an_observer_that_panics_harms_no_request() {
    for (a, b, method, cookie, _) in situations() {
        let status = |pool: &Pool| match pool.send(method, cookie) {
            Some(Ok(response)) => response.status().to_string(),
            other => format!("{other:?}"),
        };
        let harmless = Pool::new(a, b, Recording::default());
        let harmful = Pool::new(a, b, Panicking);
        assert_eq!(status(&harmful), status(&harmless), "{a:?} {b:?} {method} {cookie}");
        let members = harmful.sticky.membership();
        assert!(members.status().iter().all(|member| member.in_flight() == 0));
        members.set_state("a", State::Ok).unwrap();
    }
}

#[tokio::test]
async fn a_member_sees_what_is_decided() {
    for (a, cookie, expected) in [
        (Answers(200), "pool-route=a", "route=a outcome=hit attempts=1"),
        (Answers(200), "x=1", "route=a outcome=new attempts=1"),
        (CannotBeReached, "pool-route=a", "route=b outcome=detour attempts=2"),
        (IsNeverReady, "x=1", "route=b outcome=new attempts=2"),
    ] {
        let pool = Pool::new(a, Answers(200), Recording::default());
        let mut request = Request::builder().header("cookie", cookie).body(()).unwrap();
        let forged = Pool::new(Answers(200), Waits, Recording::default()).send("GET", "x=1");
        request
            .extensions_mut()
            .insert(forged.unwrap().unwrap().extensions().get::<Decision>().unwrap().clone());
        let response = pool.sticky.oneshot(request).await.unwrap();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, expected, "{a:?} {cookie}");
    }
}
