//! Who gets a request when a member fails, by phase, method and what became of the body; timeouts, budget, outer retries.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tokio::time::Instant;
use tower::retry::{Policy, RetryLayer};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_proxied::errors_to_502::MemberError;
use tower_proxied::sticky_route::{
    Builder, Decision, Ended, Failover, Failure, InFlightUpgrade, Member, Membership, Observer, Phase,
    RequestBody, Route, RouteCookie, State, Stickiness, StickyRoute, TriedRoutes,
};
use tower_proxied::{Refusal, RefusalKind};

/// What a member does with a request.
#[derive(Clone, Copy, Debug)]
struct Does {
    ready: Ready,
    /// How many frames it asks for.
    reads: usize,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ready {
    AtOnce,
    Fails,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Answers(u16),
    Fails(Phase),
    KeepsSilent,
    /// Its future fails, and a task holds the body for so long.
    FailsWithTask(Duration),
    SilentWithTask(Duration),
}

const ANSWERS: Does = Does { ready: Ready::AtOnce, reads: usize::MAX, then: Then::Answers(200) };

#[derive(Clone, Debug, PartialEq)]
struct Call {
    route: &'static str,
    body: Vec<Step>,
    size: Option<u64>,
}

#[derive(Clone)]
struct Scripted {
    route: &'static str,
    does: Does,
    calls: Arc<Mutex<Vec<Call>>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Failed(Phase);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "failed in phase {:?}", self.0)
    }
}

impl std::error::Error for Failed {}

impl Service<Request<RequestBody<Steps>>> for Scripted {
    type Response = Response<Full<Bytes>>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        match self.does.ready {
            Ready::AtOnce => Poll::Ready(Ok(())),
            Ready::Fails => Poll::Ready(Err(Failed(Phase::Connect))),
            Ready::Never => Poll::Pending,
        }
    }

    fn call(&mut self, request: Request<RequestBody<Steps>>) -> Self::Future {
        let Self { route, does, calls } = self.clone();
        Box::pin(async move {
            let mut body = request.into_body();
            let size = body.size_hint().exact();
            let at = {
                let mut calls = calls.lock().unwrap();
                calls.push(Call { route, body: Vec::new(), size });
                calls.len() - 1
            };
            for _ in 0..does.reads {
                let step = match body.frame().await {
                    None => break,
                    Some(Err(_)) => Step::Fails,
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => Step::Data(data),
                        Err(frame) => Step::Trailers(frame.into_trailers().unwrap()),
                    },
                };
                let is_failure = step == Step::Fails;
                calls.lock().unwrap()[at].body.push(step);
                if is_failure {
                    break;
                }
            }
            let hold = |time| {
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    drop(body);
                })
            };
            match does.then {
                Then::Answers(status) => {
                    let mut response = Response::new(Full::from(route));
                    *response.status_mut() = StatusCode::from_u16(status).unwrap();
                    Ok(response)
                }
                Then::Fails(phase) => Err(Failed(phase)),
                Then::KeepsSilent => std::future::pending().await,
                Then::FailsWithTask(time) => {
                    hold(time);
                    Err(Failed(Phase::Sent))
                }
                Then::SilentWithTask(time) => {
                    hold(time);
                    std::future::pending().await
                }
            }
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The client takes its time.
    Waits(Duration),
    Yields,
    Fails,
}

#[derive(Debug)]
struct Steps {
    steps: VecDeque<Step>,
    waits: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<const N: usize> From<[Step; N]> for Steps {
    fn from(steps: [Step; N]) -> Self {
        Self { steps: steps.into(), waits: None }
    }
}

impl Body for Steps {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        loop {
            if let Some(waits) = &mut self.waits {
                std::task::ready!(waits.as_mut().poll(cx));
                self.waits = None;
            }
            return match self.steps.pop_front() {
                Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Some(Step::Fails) => Poll::Ready(Some(Err("the client went"))),
                Some(Step::Waits(time)) => {
                    self.waits = Some(Box::pin(tokio::time::sleep(time)));
                    continue;
                }
                Some(Step::Yields) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Ready(None),
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let size = |step: &Step| if let Step::Data(data) = step { data.len() as u64 } else { 0 };
        SizeHint::with_exact(self.steps.iter().map(size).sum())
    }
}

fn data(text: &'static str) -> Step {
    Step::Data(text.into())
}

fn trailers() -> Step {
    Step::Trailers(HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]))
}

struct Pool {
    sticky: StickyRoute<Scripted>,
    calls: Arc<Mutex<Vec<Call>>>,
}

const ROUTES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Members `a`, `b` and so on. A pinned client has `a`.
fn pool(does: &[Does], failover: Failover) -> Pool {
    pool_with(does, failover, |builder| builder)
}

fn pool_with(
    does: &[Does],
    failover: Failover,
    with: impl FnOnce(Builder<Scripted>) -> Builder<Scripted>,
) -> Pool {
    let calls = Arc::default();
    let mut builder = StickyRoute::builder("pool")
        .cookie(RouteCookie::plain())
        .clock(|| Instant::now().into_std())
        .classify(|error| error.downcast_ref::<Failed>().unwrap().0)
        .failover(failover);
    for (does, route) in does.iter().zip(ROUTES) {
        let service = Scripted { route, does: *does, calls: Arc::clone(&calls) };
        builder = builder.member(Member::new(route, service));
    }
    Pool { sticky: with(builder).build().unwrap(), calls }
}

impl Pool {
    async fn send(&self, request: Request<Steps>) -> Result<Response<()>, Failed> {
        let answer = self.sticky.clone().oneshot(request).await;
        let answer = answer.map(|mut response| {
            response.extensions_mut().remove::<InFlightUpgrade>();
            response.map(drop)
        });
        assert_eq!(self.in_flight(), 0);
        answer
    }

    fn in_flight(&self) -> usize {
        self.sticky.membership().status().iter().map(|member| member.in_flight()).sum()
    }

    fn routes(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.calls.lock().unwrap()).iter().map(|call| call.route).collect()
    }

    fn state(&self, at: usize) -> State {
        self.sticky.membership().status()[at].state()
    }
}

fn request(method: &str, body: impl Into<Steps>) -> Request<Steps> {
    Request::builder().method(method).uri("/").header("cookie", "pool-route=a").body(body.into()).unwrap()
}

fn decision<R>(response: &Response<R>) -> String {
    response.extensions().get::<Decision>().unwrap().to_string()
}

fn refusal<R>(response: &Response<R>) -> Option<RefusalKind> {
    response.extensions().get().map(Refusal::kind)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn by_phase_method_and_body() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Read {
        Nothing,
        Some,
        AllUnderCap,
        AllAtCap,
        OverCap,
        WithTrailers,
        WithTrailersOverCap,
        Failing,
    }
    let reads = [
        (Read::Nothing, 0, vec![data("12345"), data(""), data("678")]),
        (Read::Some, 1, vec![data("12345"), Step::Yields, data("678")]),
        (Read::AllUnderCap, 9, vec![data("12345"), data(""), data("678")]),
        (Read::AllAtCap, 9, vec![data("12345"), data("67890")]),
        (Read::OverCap, 9, vec![data("12345"), data("678901")]),
        (Read::WithTrailers, 9, vec![data("12345"), trailers()]),
        (Read::WithTrailersOverCap, 9, vec![data("123456"), trailers()]),
        (Read::Failing, 9, vec![data("12345"), Step::Fails]),
    ];
    let phases = [
        (Ready::Fails, Then::Answers(200)),
        (Ready::Never, Then::Answers(200)),
        (Ready::AtOnce, Then::Fails(Phase::Connect)),
        (Ready::AtOnce, Then::Fails(Phase::NotSent)),
        (Ready::AtOnce, Then::Fails(Phase::Sent)),
        (Ready::AtOnce, Then::KeepsSilent),
        (Ready::AtOnce, Then::Answers(503)),
        (Ready::AtOnce, Then::Answers(500)),
        (Ready::AtOnce, Then::Answers(101)),
        (Ready::AtOnce, Then::Answers(425)),
    ];
    let methods = [
        ("GET", false, true),
        ("PUT", false, true),
        ("DELETE", false, true),
        ("POST", false, false),
        ("PATCH", false, false),
        ("CONNECT", false, false),
        ("POST", true, true),
    ];
    for (ready, then) in phases {
        for (method, has_key, is_repeatable) in methods {
            for (read, frames, steps) in &reads {
                for replays in [false, true] {
                    let case = format!("{ready:?} {then:?} {method} key={has_key} {read:?} replay={replays}");
                    let retried = [503, 101, 425].map(|status| StatusCode::from_u16(status).unwrap());
                    let mut failover = Failover::default()
                        .eject_after(1)
                        .acquire_timeout(SECOND)
                        .head_timeout(SECOND)
                        .trust_idempotency_key()
                        .retry_on_status(retried);
                    if replays {
                        failover = failover.replay(10);
                    }
                    let first = Does { ready, reads: *frames, then };
                    let pool = pool(&[first, ANSWERS], failover);
                    let mut request = request(method, []);
                    request.body_mut().steps = steps.clone().into();
                    if has_key {
                        request.headers_mut().insert("idempotency-key", "\"8e03978e\"".parse().unwrap());
                    }
                    let size = request.body().size_hint().exact();
                    let answer = pool.send(request).await;

                    let is_called = ready == Ready::AtOnce;
                    let may_move = match then {
                        _ if !is_called => true,
                        Then::Fails(Phase::Connect | Phase::NotSent) => true,
                        Then::Fails(_) | Then::KeepsSilent | Then::Answers(503) => is_repeatable,
                        _ => false,
                    };
                    let is_home = match read {
                        _ if !is_called => true,
                        Read::Nothing => true,
                        Read::Some | Read::AllUnderCap | Read::AllAtCap | Read::WithTrailers => replays,
                        Read::OverCap | Read::WithTrailersOverCap | Read::Failing => false,
                    };
                    let mut calls = pool.calls.lock().unwrap().clone();
                    if may_move && is_home {
                        let response = answer.unwrap();
                        assert_eq!(decision(&response), "route=b outcome=repinned attempts=2", "{case}");
                        assert!(response.headers().contains_key("set-cookie"), "{case}");
                        let call = calls.pop().unwrap();
                        assert_eq!((call.route, call.size), ("b", size), "{case}");
                        let is_seen = |step: &&Step| **step != Step::Yields && **step != data("");
                        let whole: Vec<Step> = steps.iter().filter(is_seen).cloned().collect();
                        let got: Vec<Step> = call.body.iter().filter(is_seen).cloned().collect();
                        assert_eq!(got, whole, "{case}");
                    } else {
                        match (then, answer) {
                            (Then::Fails(phase), Err(error)) => assert_eq!(error, Failed(phase), "{case}"),
                            (Then::KeepsSilent, Ok(response)) => {
                                assert_eq!(refusal(&response), Some(RefusalKind::MemberTimedOut), "{case}");
                                assert_eq!(response.status(), 504);
                                assert_eq!(decision(&response), "route=a outcome=hit attempts=1");
                                assert!(!response.headers().contains_key("set-cookie"));
                            }
                            (Then::Answers(status), Ok(response)) => {
                                assert_eq!(response.status(), status, "{case}");
                                assert_eq!(decision(&response), "route=a outcome=hit attempts=1", "{case}");
                            }
                            (_, answer) => panic!("{case}: {answer:?}"),
                        }
                    }
                    let first: Vec<&str> = if is_called { vec!["a"] } else { vec![] };
                    assert_eq!(calls.iter().map(|call| call.route).collect::<Vec<_>>(), first, "{case}");
                    let is_ejected = ready == Ready::Fails || then == Then::Fails(Phase::Connect);
                    assert_eq!(pool.state(0) == State::Ejected, is_ejected, "{case}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_alone_says_nothing() {
    let first = Does { then: Then::Fails(Phase::Sent), ..ANSWERS };
    let failover = || Failover::default().replay(9);
    let keys: [(Failover, &[&str]); 3] = [
        (failover(), &["\"1\""]),
        (failover().trust_idempotency_key(), &[""]),
        (failover().trust_idempotency_key(), &["\"1\"", "\"2\""]),
    ];
    for (failover, keys) in keys {
        let pool = pool(&[first, ANSWERS], failover);
        let mut request = request("POST", [data("order")]);
        for key in keys {
            request.headers_mut().append("idempotency-key", key.parse().unwrap());
        }
        pool.send(request).await.unwrap_err();
        assert_eq!(pool.routes(), ["a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn members_that_are_not_ready_in_time() {
    let never = Does { ready: Ready::Never, ..ANSWERS };
    let failover = || Failover::default().acquire_timeout(SECOND).max_attempts(3);
    let pool_of = |number| pool(&vec![never; number], failover());
    for (members, expected) in [(1, SECOND), (2, 2 * SECOND), (5, 3 * SECOND)] {
        let (start, pool) = (Instant::now(), pool_of(members));
        let response = pool.send(request("POST", [data("order")])).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), expected.as_secs());
        assert_eq!(refusal(&response), Some(RefusalKind::NoMember));
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (503, &"5".parse().unwrap())
        );
        assert_eq!(decision(&response), format!("route=- outcome=unusable attempts={}", members.min(3)));
        assert_eq!(pool.state(0), State::Ok, "busy is not dead");
    }
}

#[tokio::test(start_paused = true)]
async fn members_that_keep_silent() {
    let silent = Does { then: Then::KeepsSilent, ..ANSWERS };
    let failover = || Failover::default().head_timeout(10 * SECOND);
    let start = Instant::now();
    let response = pool(&[silent, silent], failover()).send(request("GET", [])).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 20);
    assert_eq!(refusal(&response), Some(RefusalKind::MemberTimedOut));
    assert_eq!(decision(&response), "route=b outcome=detour attempts=2");

    let mut grpc = request("POST", []);
    grpc.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    let response = pool(&[silent], failover()).send(grpc).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["grpc-status"]),
        (200, &"4".parse().unwrap())
    );
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Observer for Told {
    fn request_ended(&self, ended: &Ended<'_>) {
        self.0.lock().unwrap().push(format!("{} {:?}", ended.decision(), ended.end()));
    }

    fn member_failed(&self, route: &Route, attempt: usize, failure: Failure) {
        self.0.lock().unwrap().push(format!("{route} {attempt} {failure:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_timeouts() {
    let never = Does { ready: Ready::Never, ..ANSWERS };
    let silent = Does { then: Then::KeepsSilent, ..ANSWERS };
    for (does, expected) in [
        (
            [never, silent],
            ["a 1 NotReadyInTime", "b 2 NoAnswerInTime", "route=b outcome=detour attempts=2 TimedOut"],
        ),
        (
            [silent, never],
            ["a 1 NoAnswerInTime", "b 2 NotReadyInTime", "route=b outcome=detour attempts=2 Refused"],
        ),
    ] {
        let told = Told::default();
        let failover = Failover::default().acquire_timeout(SECOND).head_timeout(SECOND);
        let pool = pool_with(&does, failover, |builder| builder.observer(told.clone()));
        pool.send(request("GET", [])).await.unwrap();
        assert_eq!(*told.0.lock().unwrap(), expected);
    }
}

/// 30 seconds of the client's own between its frames, and then 10 of the member's.
#[tokio::test(start_paused = true)]
async fn the_time_of_the_client_is_not_the_members() {
    let silent = Does { then: Then::KeepsSilent, ..ANSWERS };
    let slowly = || [data("a"), Step::Waits(14 * SECOND), data("b"), Step::Waits(16 * SECOND), data("c")];
    for (does, expected) in [(silent, 40), (ANSWERS, 30), (Does { reads: 1, ..silent }, 10)] {
        let pool = pool(&[does], Failover::default().head_timeout(10 * SECOND));
        let start = Instant::now();
        let response = pool.send(request("PUT", slowly())).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), expected, "{does:?}");
        assert_eq!(response.status(), if does.then == Then::KeepsSilent { 504 } else { 200 });
    }
}

/// It asks for a frame, and never looks whether the client sent it.
#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_read_what_it_asked_for_keeps_silent() {
    let asks_once = |request: Request<RequestBody<Steps>>| async move {
        let mut body = request.into_body();
        assert!(
            std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await.is_pending()
        );
        std::future::pending::<Result<Response<Full<Bytes>>, Failed>>().await
    };
    let sticky = StickyRoute::builder("pool")
        .member(Member::new("a", tower::service_fn(asks_once)))
        .cookie(RouteCookie::plain())
        .failover(Failover::default().head_timeout(10 * SECOND))
        .build()
        .unwrap();
    let start = Instant::now();
    let slowly = request("PUT", [Step::Waits(14 * SECOND), data("a")]);
    let answer = tokio::time::timeout(100 * SECOND, sticky.oneshot(slowly)).await;
    assert_eq!(answer.expect("in time").unwrap().status(), 504);
    assert_eq!(start.elapsed().as_secs(), 24, "14 of the client's, and then 10 of the member's");
}

#[tokio::test(start_paused = true)]
async fn a_body_in_a_task_comes_home_a_little_later() {
    let late = |then| Does { then, ..ANSWERS };
    for (time, is_in_time) in [(SECOND / 2, true), (SECOND * 2, false)] {
        for reads in [0, 1, 9] {
            let fails = Does { reads, ..late(Then::FailsWithTask(time)) };
            let pool_of = |does| pool(&[does, ANSWERS], Failover::default().replay(99));
            let start = Instant::now();
            let answer = pool_of(fails).send(request("PUT", [data("page")])).await;
            assert!(start.elapsed() < time.min(SECOND) + SECOND / 10, "waited for {:?}", start.elapsed());
            assert_eq!(answer.is_ok(), is_in_time, "{time:?} {reads}");
            let silent = Does { reads, ..late(Then::SilentWithTask(time + SECOND)) };
            let failover = Failover::default().replay(99).head_timeout(SECOND);
            let response =
                pool(&[silent, ANSWERS], failover).send(request("PUT", [data("page")])).await.unwrap();
            assert_eq!(response.status() == 200, is_in_time, "{time:?} {reads}");
        }
    }
    // Nobody waits for a body that cannot come.
    let start = Instant::now();
    let fails = late(Then::FailsWithTask(SECOND / 2));
    for failover in [Failover::default(), Failover::default().replay(3)] {
        pool(&[fails, ANSWERS], failover).send(request("PUT", [data("page")])).await.unwrap_err();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Without a runtime there is no timer that could be made.
#[test]
fn no_timer_where_no_timeout_is_configured() {
    let silent = Does { ready: Ready::Never, ..ANSWERS };
    let failing = Does { then: Then::Fails(Phase::Sent), ..ANSWERS };
    let mut cx = Context::from_waker(Waker::noop());
    let mut polled = |pool: &Pool| {
        let mut answer = Box::pin(pool.sticky.clone().oneshot(request("PUT", [data("page")])));
        answer.as_mut().poll(&mut cx).map(|answer| answer.map(|response| response.status()))
    };
    let with_timeouts = || Failover::default().acquire_timeout(SECOND).head_timeout(SECOND).replay(99);
    assert!(polled(&pool(&[silent], Failover::default())).is_pending());
    let without_timeouts = Failover::default().replay(99).retry_budget(20, 1);
    assert_eq!(polled(&pool(&[failing, ANSWERS], without_timeouts)), Poll::Ready(Ok(StatusCode::OK)));
    assert_eq!(
        polled(&pool(&[failing, ANSWERS], with_timeouts())),
        Poll::Ready(Ok(StatusCode::OK)),
        "none is late"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_sent_again_within_the_budget() {
    let sent = Does { then: Then::Fails(Phase::Sent), ..ANSWERS };
    let unsent = Does { then: Then::Fails(Phase::NotSent), ..ANSWERS };
    let answered = Does { then: Then::Answers(503), ..ANSWERS };
    let failover =
        || Failover::default().retry_budget(20, 1).retry_on_status([StatusCode::SERVICE_UNAVAILABLE]);
    let moved = async |pool: &Pool, requests: usize| {
        let mut moved = 0;
        for _ in 0..requests {
            let answer = pool.send(request("GET", [])).await;
            moved += usize::from(answer.is_ok_and(|response| decision(&response).ends_with("attempts=2")));
        }
        moved
    };
    for first in [sent, answered] {
        let pool = pool(&[first, ANSWERS], failover());
        assert_eq!(moved(&pool, 12).await, 12, "ten are kept, and twelve requests bring two");
        assert_eq!(moved(&pool, 100).await, 20);
        tokio::time::advance(5 * SECOND).await;
        assert_eq!(moved(&pool, 5).await, 5);
        assert_eq!(moved(&pool, 5).await, 2);
    }
    assert_eq!(moved(&pool(&[unsent, ANSWERS], failover()), 100).await, 100);
    // Nobody is there to have it: nothing is paid.
    let lonely = pool(&[sent, ANSWERS], failover());
    lonely.sticky.membership().set_state("b", State::Stopped).unwrap();
    assert_eq!(moved(&lonely, 100).await, 0);
    lonely.sticky.membership().set_state("b", State::Ok).unwrap();
    assert_eq!(moved(&lonely, 10).await, 10);
}

/// Again so often where the member failed, whatever the method.
#[derive(Clone)]
struct Again(usize);

impl<R> Policy<Request<Full<Bytes>>, Response<R>, Failed> for Again {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Full<Bytes>>,
        result: &mut Result<Response<R>, Failed>,
    ) -> Option<Self::Future> {
        let may_retry = self.0 > 0 && !result.as_ref().is_ok_and(|response| response.status().is_success());
        self.0 -= usize::from(may_retry);
        may_retry.then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn an_outer_retry_meets_other_members() {
    let fails = Does { then: Then::Fails(Phase::Sent), ..ANSWERS };
    let broken = Does { then: Then::Answers(500), ..ANSWERS };
    let send = async |pool: &Pool, retries, carries: bool| {
        let service = ServiceBuilder::new()
            .map_request(move |mut request: Request<Full<Bytes>>| {
                if carries {
                    request.extensions_mut().insert(TriedRoutes::default());
                }
                request
            })
            .layer(RetryLayer::new(Again(retries)))
            .map_request(|request: Request<Full<Bytes>>| {
                request.map(|body| Steps::from([Step::Data(body.collect().now())]))
            })
            .service(pool.sticky.clone());
        let request = Request::post("/").header("cookie", "pool-route=a").body(Full::from("order")).unwrap();
        let answer =
            service.oneshot(request).await.map(|response| (response.status().as_u16(), decision(&response)));
        (answer, pool.routes())
    };
    let default = Failover::default;
    let (answer, routes) = send(&pool(&[fails, ANSWERS], default()), 1, true).await;
    assert_eq!(answer.unwrap(), (200, "route=b outcome=repinned attempts=1".to_owned()));
    assert_eq!(routes, ["a", "b"]);
    let (answer, routes) = send(&pool(&[fails, ANSWERS], default()), 3, false).await;
    assert_eq!((answer, routes), (Err(Failed(Phase::Sent)), vec!["a"; 4]), "what it is for");

    let (answer, routes) = send(&pool(&[broken; 3], default()), 2, true).await;
    assert_eq!(answer.unwrap().0, 500);
    assert_eq!(BTreeSet::from_iter(&routes).len(), 3, "{routes:?}");

    let (_, routes) = send(&pool(&[fails, fails], default()), 4, true).await;
    assert_eq!(routes, ["a", "b", "a", "b", "a"], "when all were tried, it starts anew, with the pin");

    let hard = pool_with(&[fails, ANSWERS], default(), |builder| builder.stickiness(Stickiness::Hard));
    let (_, routes) = send(&hard, 2, true).await;
    assert_eq!(routes, ["a"; 3], "nobody else may have it");

    // Failover within counts too.
    let unsent = Does { then: Then::Fails(Phase::NotSent), reads: 0, ..ANSWERS };
    let (answer, routes) = send(&pool(&[unsent, fails, ANSWERS], default()), 1, true).await;
    assert_eq!(routes.len(), if routes.contains(&"b") { 3 } else { 2 }, "{routes:?}");
    assert_eq!(answer.unwrap().0, 200);
}

trait Now: Future + Sized {
    fn now(self) -> Bytes;
}

impl<F: Future<Output = Result<http_body_util::Collected<Bytes>, std::convert::Infallible>>> Now for F {
    fn now(self) -> Bytes {
        match std::pin::pin!(self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(body)) => body.to_bytes(),
            _ => panic!("it is there"),
        }
    }
}

#[tokio::test]
async fn routes_tried_elsewhere_are_passed_over_and_not_told_to_members() {
    let pool = pool(&[ANSWERS; 3], Failover::default());
    let mut with_tried = request("GET", []);
    let tried = TriedRoutes::from_iter(["a", "b", "gone"].map(|route| Route::parse(route).unwrap()));
    with_tried.extensions_mut().insert(tried.clone());
    assert_eq!(decision(&pool.send(with_tried).await.unwrap()), "route=c outcome=repinned attempts=1");
    let routes = |tried: &TriedRoutes| tried.routes().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(routes(&tried), ["a", "b", "gone", "c"]);
    // Its successor had it too.
    let with_successor = StickyRoute::builder("pool")
        .member(Member::new(
            "a",
            tower::service_fn(|request: Request<RequestBody<Steps>>| async move {
                assert!(request.extensions().get::<TriedRoutes>().is_none());
                Ok::<_, Failed>(Response::new(()))
            }),
        ))
        .cookie(RouteCookie::plain())
        .build()
        .unwrap();
    let mut with_tried = request("GET", []);
    let tried = TriedRoutes::from_iter([Route::parse("a").unwrap()]);
    with_tried.extensions_mut().insert(tried.clone());
    let response = with_successor.oneshot(with_tried).await.unwrap();
    assert_eq!(decision(&response), "route=a outcome=hit attempts=1");
    assert_eq!(routes(&tried), ["a"]);
}

#[tokio::test]
async fn a_successor_goes_before_others_when_the_pinned_member_fails() {
    let refused = Does { ready: Ready::Fails, ..ANSWERS };
    let with_successor = || {
        let Pool { sticky, calls } =
            pool(&[refused, ANSWERS, ANSWERS, ANSWERS, ANSWERS], Failover::default());
        sticky.membership().set_successor("a", "e").unwrap();
        Pool { sticky, calls }
    };
    for _ in 0..20 {
        let pool = with_successor();
        let response = pool.send(request("POST", [data("x")])).await.unwrap();
        assert_eq!(decision(&response), "route=e outcome=repinned attempts=2");
    }
    for _ in 0..20 {
        let mut once_more = request("POST", [data("x")]);
        once_more.extensions_mut().insert(TriedRoutes::from_iter([Route::parse("a").unwrap()]));
        let response = with_successor().send(once_more).await.unwrap();
        assert_eq!(decision(&response), "route=e outcome=repinned attempts=1");
    }
}

#[tokio::test]
async fn a_pin_is_not_kept_to_a_member_that_was_given_up() {
    let keeping = || pool(&[ANSWERS; 2], Failover::default().keep_pin());
    type GivenUp = fn(&Membership<Scripted>);
    let cases: [(GivenUp, &str); 5] = [
        (|members| members.set_state("a", State::Ejected).unwrap(), "detour"),
        (|members| members.set_state("a", State::Disabled).unwrap(), "detour"),
        (|members| members.set_state("a", State::Stopped).unwrap(), "repinned"),
        (|members| drop(members.drain("a", Duration::ZERO).unwrap()), "repinned"),
        (
            |members| {
                members.set_successor("a", "b").unwrap();
                members.remove("a").unwrap();
            },
            "repinned",
        ),
    ];
    for (number, (give_up, outcome)) in cases.into_iter().enumerate() {
        let pool = keeping();
        give_up(&pool.sticky.membership());
        let response = pool.send(request("GET", [])).await.unwrap();
        assert_eq!(decision(&response), format!("route=b outcome={outcome} attempts=1"), "{number}");
        assert_eq!(response.headers().contains_key("set-cookie"), outcome == "repinned", "{number}");
    }
}

#[tokio::test]
async fn a_502_tells_its_decision() {
    let fails = Does { then: Then::Fails(Phase::Sent), ..ANSWERS };
    let unready = Does { ready: Ready::Fails, ..ANSWERS };
    for (does, method, expected) in [
        ([fails, ANSWERS], "POST", "route=a outcome=hit attempts=1"),
        ([unready, unready], "POST", "route=b outcome=detour attempts=2"),
    ] {
        let pool = pool(&does, Failover::default());
        let Ok(response) = pool.sticky.clone().errors_to_502().oneshot(request(method, [data("x")])).await;
        assert_eq!((response.status().as_u16(), decision(&response)), (502, expected.to_owned()));
        let error = response.extensions().get::<MemberError>().unwrap();
        assert!(error.as_str().starts_with("failed in phase "), "{error}");
    }
}

fn does() -> impl Strategy<Value = Does> {
    let ready = prop_oneof![6 => Just(Ready::AtOnce), 1 => Just(Ready::Fails), 1 => Just(Ready::Never)];
    let then = prop_oneof![
        3 => prop::sample::select(vec![200, 500, 503, 101, 425]).prop_map(Then::Answers),
        3 => prop::sample::select(vec![Phase::Connect, Phase::NotSent, Phase::Sent]).prop_map(Then::Fails),
        1 => Just(Then::KeepsSilent),
        1 => Just(Then::FailsWithTask(SECOND / 3)),
        1 => Just(Then::SilentWithTask(SECOND / 3)),
    ];
    (ready, 0..5_usize, then).prop_map(|(ready, reads, then)| Does { ready, reads, then })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::sample::select(vec!["", "a", "1234567890"]).prop_map(data),
        2 => Just(Step::Yields),
        1 => (1..3_u32).prop_map(|seconds| Step::Waits(seconds * SECOND)),
        1 => Just(trailers()),
        1 => Just(Step::Fails),
    ]
}

/// What one request did, told once more by what the members saw.
fn check(pool: &Pool, does: &[Does], method: &Method, max_attempts: usize) -> Result<(), TestCaseError> {
    let calls = pool.calls.lock().unwrap();
    prop_assert!(calls.len() <= max_attempts.max(1));
    let routes: BTreeSet<&str> = calls.iter().map(|call| call.route).collect();
    prop_assert_eq!(routes.len(), calls.len(), "a member had it twice");
    let of = |call: &Call| does[ROUTES.iter().position(|route| *route == call.route).unwrap()];
    // Whoever is followed by another one gave the request back.
    for call in &calls[..calls.len().saturating_sub(1)] {
        let gave_back = match of(call).then {
            Then::Fails(phase) => phase != Phase::Sent || method.is_idempotent(),
            Then::Answers(status) => status == 503 && method.is_idempotent(),
            _ => method.is_idempotent(),
        };
        prop_assert!(gave_back, "{:?} {:?}", call, of(call));
    }
    for pair in calls.windows(2) {
        prop_assert_eq!(pair[0].size, pair[1].size);
        let seen =
            |call: &Call| call.body.iter().filter(|step| **step != data("")).cloned().collect::<Vec<_>>();
        let (first, second) = (seen(&pair[0]), seen(&pair[1]));
        let both = first.len().min(second.len());
        prop_assert_eq!(&first[..both], &second[..both]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Ended by itself, or dropped at any moment.
    #[test]
    fn no_request_goes_where_it_must_not(
        does in prop::collection::vec(does(), 1..5),
        method in prop::sample::select(vec![Method::GET, Method::PUT, Method::POST]),
        steps in prop::collection::vec(step(), 0..6),
        max_attempts in 0..5_usize,
        replay in prop::option::of(0..30_usize),
        timeouts in any::<[bool; 2]>(),
        polls in prop::option::of(0..12_usize),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut failover = Failover::default()
                .max_attempts(max_attempts)
                .retry_on_status([StatusCode::SERVICE_UNAVAILABLE])
                .retry_budget(100, 10);
            if let Some(replay) = replay {
                failover = failover.replay(replay);
            }
            if timeouts[0] {
                failover = failover.acquire_timeout(SECOND);
            }
            if timeouts[1] {
                failover = failover.head_timeout(SECOND);
            }
            let pool = pool(&does, failover);
            let mut request = request(method.as_str(), []);
            request.body_mut().steps = steps.into();
            let mut answer = Box::pin(pool.sticky.clone().oneshot(request));
            match polls {
                Some(polls) => {
                    for _ in 0..polls {
                        let polled = std::future::poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await;
                        if polled.is_ready() {
                            break;
                        }
                        tokio::time::advance(SECOND / 4).await;
                    }
                }
                None => {
                    let is_silent = |does: &Does| matches!(does.then, Then::KeepsSilent | Then::SilentWithTask(_));
                    let may_hang = does.iter().any(|does| {
                        (does.ready == Ready::Never && !timeouts[0]) || (is_silent(does) && !timeouts[1])
                    });
                    let ended = tokio::time::timeout(SECOND * 100, answer.as_mut()).await;
                    prop_assert!(ended.is_ok() || may_hang, "it ends");
                }
            }
            drop(answer);
            prop_assert_eq!(pool.in_flight(), 0);
            check(&pool, &does, &method, max_attempts)
        })?;
    }
}
