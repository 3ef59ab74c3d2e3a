use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::body::{InFlight, RequestBody};
use super::exchange::Exchange;
use super::future::ResponseFuture;
use super::pool::Membership;
use super::reach::{Direct, Reach};
use super::shared::Shared;
use super::unanswered::DecidedErrors;
use crate::errors_to_502::ErrorsTo502;
use crate::refusal::Caller;

/// Gives each client the member that it is pinned to; see the [module](crate::sticky_route).
///
/// Clones share one pool. It is always ready, since only the request tells which member matters: a clone of that
/// member is driven to readiness within the response future.
///
/// Members are services; those of a [`StickyRouteLayer`](super::StickyRouteLayer) are layers that go
/// [`Through`](super::Through) one client.
pub struct StickyRoute<M, R = Direct> {
    pub(super) shared: Arc<Shared<M>>,
    pub(super) reach: R,
}

impl<M, R> StickyRoute<M, R> {
    /// The handle that changes the members.
    pub fn membership(&self) -> Membership<M> {
        Membership::new(self.shared.clone())
    }

    /// Answers 502 where no member could, so that the error is `Infallible`, as axum wants it. The answer has its
    /// [`Decision`](super::Decision).
    pub fn errors_to_502(self) -> ErrorsTo502<DecidedErrors<Self>> {
        ErrorsTo502::new(DecidedErrors::new(self))
    }
}

impl<M, R: Clone> Clone for StickyRoute<M, R> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), reach: self.reach.clone() }
    }
}

impl<M, R> fmt::Debug for StickyRoute<M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyRoute").field("members", &self.membership()).finish_non_exhaustive()
    }
}

impl<M, R, S, B, T> Service<Request<B>> for StickyRoute<M, R>
where
    R: Reach<M, Service = S>,
    S: Service<Request<RequestBody<B>>, Response = Response<T>>,
    S::Error: 'static,
{
    type Response = Response<InFlight<T>>;
    type Error = S::Error;
    type Future = ResponseFuture<M, R, S, S::Future, B, S::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match Exchange::begin(&self.shared, &self.reach, &mut parts) {
            Ok((exchange, service)) => {
                ResponseFuture::first(exchange, service, Request::from_parts(parts, body))
            }
            Err(refused) => ResponseFuture::refused(refused, Caller::of(&parts)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderValue, StatusCode};
    use http_body_util::{BodyExt, Full};
    use proptest::prelude::*;
    use tower::ServiceExt;

    use super::*;
    use crate::sticky_route::{Decision, Failover, Member, Outcome, Phase, RouteCookie, State, Stickiness};
    use crate::{ForwardedForLayer, PeerAddr, Refusal, RefusalKind, Scheme, TrustedProxies};

    /// Fails as told, and panics where it is called without having been ready.
    #[derive(Debug)]
    struct Scripted {
        fails: Option<&'static str>,
        is_ready: bool,
    }

    impl Clone for Scripted {
        fn clone(&self) -> Self {
            Self { fails: self.fails, is_ready: false }
        }
    }

    impl Service<Request<RequestBody<Full<Bytes>>>> for Scripted {
        type Response = Response<Full<Bytes>>;
        type Error = &'static str;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, &'static str>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            self.is_ready = true;
            Poll::Ready(if self.fails == Some("unready") { Err("unready") } else { Ok(()) })
        }

        fn call(&mut self, request: Request<RequestBody<Full<Bytes>>>) -> Self::Future {
            assert!(std::mem::take(&mut self.is_ready));
            let fails = self.fails;
            Box::pin(async move {
                match fails {
                    Some(error) => Err(error),
                    None => {
                        let mut response = Response::builder();
                        for line in request.headers().get_all("cookie") {
                            response = response.header("seen", line);
                        }
                        if request.uri().path() == "/login" {
                            response = response.header("set-cookie", "sid=new");
                        }
                        Ok(response
                            .body(request.into_body().collect().await.unwrap().to_bytes().into())
                            .unwrap())
                    }
                }
            })
        }
    }

    fn sticky(cookie: RouteCookie, first_fails: Option<&'static str>) -> StickyRoute<Scripted> {
        StickyRoute::builder("pool")
            .member(Member::new("a", Scripted { fails: first_fails, is_ready: false }))
            .member(Member::new("b", Scripted { fails: None, is_ready: false }))
            .cookie(cookie)
            .failover(Failover::default().eject_after(1))
            .classify(|error| match error.downcast_ref() {
                Some(&"refused") => Phase::Connect,
                _ => Phase::Sent,
            })
            .build()
            .unwrap()
    }

    fn request(method: &str, path: &str, cookies: &[&str]) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(path);
        for line in cookies {
            request = request.header("cookie", *line);
        }
        request.body("body".into()).unwrap()
    }

    fn decision<R>(response: &Response<R>) -> (String, Outcome, usize) {
        let decision = response.extensions().get::<Decision>().unwrap();
        (decision.route().unwrap().to_string(), decision.outcome(), decision.attempts())
    }

    #[test]
    fn it_is_clone_send_sync_and_its_future_send() {
        fn check<T: Clone + Send + Sync + 'static>(_: &T) {}
        fn check_send<T: Send>(_: T) {}
        let mut sticky = sticky(RouteCookie::plain(), None);
        check(&sticky);
        check_send(sticky.call(request("GET", "/", &[])));
    }

    #[tokio::test]
    async fn a_body_moves_on_where_nothing_was_sent() {
        for failure in ["unready", "refused"] {
            let sticky = sticky(RouteCookie::plain(), Some(failure));
            let mut watch = sticky.membership().watch();
            let response = sticky.clone().oneshot(request("POST", "/", &["pool-route=a"])).await.unwrap();
            assert_eq!(decision(&response), ("b".to_owned(), Outcome::Repinned, 2), "{failure}");
            assert!(response.headers()["set-cookie"].to_str().unwrap().starts_with("pool-route=b;"));
            let told = tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.unwrap();
            assert_eq!(told[0].state(), State::Ejected);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "body");
            assert_eq!(sticky.membership().status()[1].in_flight(), 0);
        }
    }

    #[tokio::test]
    async fn what_was_sent_moves_on_only_where_it_is_idempotent() {
        let sticky = sticky(RouteCookie::plain(), Some("reset"));
        let error = sticky.clone().oneshot(request("POST", "/", &["pool-route=a"])).await.unwrap_err();
        assert_eq!(error, "reset");
        let response = sticky.clone().oneshot(request("PUT", "/", &["pool-route=a"])).await.unwrap();
        assert_eq!(decision(&response).1, Outcome::Repinned);
        let status = &sticky.membership().status()[0];
        assert_eq!((status.state(), status.in_flight()), (State::Ok, 0));
    }

    #[tokio::test]
    async fn of_several_cookies_the_first_usable() {
        let sticky = sticky(RouteCookie::plain(), None);
        let cookies = ["x=1; pool-route=gone; pool-route=a", "pool-route=b; y=2"];
        let seen = |response: &Response<_>| -> Vec<HeaderValue> {
            response.headers().get_all("seen").iter().cloned().collect()
        };
        let response = sticky.clone().oneshot(request("GET", "/", &cookies)).await.unwrap();
        assert_eq!(decision(&response), ("a".to_owned(), Outcome::Hit, 1));
        assert_eq!(seen(&response), ["x=1", "y=2"]);
        sticky.membership().set_state("a", State::Disabled).unwrap();
        let response = sticky.oneshot(request("GET", "/", &cookies)).await.unwrap();
        assert_eq!(decision(&response), ("b".to_owned(), Outcome::Hit, 1));
    }

    #[tokio::test]
    async fn an_application_cookie_is_repinned_where_the_application_sets_it() {
        let sticky = sticky(RouteCookie::managed_suffix("sid", '.'), Some("refused"));
        let response = sticky.clone().oneshot(request("GET", "/", &["sid=x.a"])).await.unwrap();
        assert_eq!(decision(&response).1, Outcome::Detour);
        assert_eq!(response.headers()["seen"], "sid=x");
        let response = sticky.oneshot(request("GET", "/login", &["sid=x.a"])).await.unwrap();
        assert_eq!(decision(&response).1, Outcome::Repinned);
        assert_eq!(response.headers()["set-cookie"], "sid=new.b");
    }

    #[tokio::test]
    async fn the_cookie_is_secure_where_the_client_came_by_https() {
        let peer: std::net::SocketAddr = "192.0.2.1:1".parse().unwrap();
        let service = tower::ServiceBuilder::new()
            .layer(PeerAddr::layer(peer))
            .layer(ForwardedForLayer::x_forwarded_for(TrustedProxies::none()).listener_scheme(Scheme::Https))
            .service(sticky(RouteCookie::plain(), None));
        let response = service.oneshot(request("GET", "/", &[])).await.unwrap();
        let line = response.headers()["set-cookie"].to_str().unwrap();
        assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{line}");
    }

    #[tokio::test]
    async fn hard_stickiness_waits_but_not_for_members_that_were_given_up() {
        let build = |stickiness| {
            StickyRoute::builder("pool")
                .member(Member::new("a", Scripted { fails: None, is_ready: false }))
                .member(Member::new("b", Scripted { fails: None, is_ready: false }))
                .cookie(RouteCookie::plain())
                .stickiness(stickiness)
                .build()
                .unwrap()
        };
        for stickiness in [Stickiness::Hard, Stickiness::HardFor(Duration::from_secs(60))] {
            let sticky = build(stickiness);
            let status = async || {
                sticky
                    .clone()
                    .oneshot(request("GET", "/", &["pool-route=a"]))
                    .await
                    .unwrap()
                    .status()
                    .as_u16()
            };
            let members = sticky.membership();
            for (state, expected) in
                [(State::Disabled, 503), (State::Ejected, 503), (State::Stopped, 200), (State::Ok, 200)]
            {
                members.set_state("a", State::Ok).unwrap();
                members.set_state("a", state).unwrap();
                assert_eq!(status().await, expected, "{stickiness:?} {state:?}");
            }
            members.drain("a", Duration::ZERO).unwrap();
            assert_eq!(status().await, 200);
        }
    }

    #[tokio::test]
    async fn strict_stickiness_gives_nobody_up() {
        let scripted = || Scripted { fails: None, is_ready: false };
        let sticky = StickyRoute::builder("pool")
            .member(Member::new("a", scripted()))
            .member(Member::new("b", scripted()))
            .cookie(RouteCookie::plain())
            .stickiness(Stickiness::Strict)
            .build()
            .unwrap();
        let outcome = async |cookies: &[&str]| {
            let response = sticky.clone().oneshot(request("GET", "/", cookies)).await.unwrap();
            let decision = response.extensions().get::<Decision>().unwrap();
            (response.status().as_u16(), decision.outcome())
        };
        let members = sticky.membership();
        assert_eq!(outcome(&["pool-route=a"]).await, (200, Outcome::Hit));
        assert_eq!(outcome(&["pool-route=x"]).await, (503, Outcome::Unknown));
        assert_eq!(outcome(&["x=1"]).await, (200, Outcome::New));
        members.set_state("a", State::Stopped).unwrap();
        assert_eq!(outcome(&["pool-route=a"]).await, (503, Outcome::Unusable));
        members.drain("a", Duration::ZERO).unwrap();
        assert_eq!(outcome(&["pool-route=a"]).await, (503, Outcome::Unusable));
        members.set_successor("a", "b").unwrap();
        assert_eq!(outcome(&["pool-route=a"]).await, (200, Outcome::Repinned));
        members.remove("a").unwrap();
        assert_eq!(outcome(&["pool-route=a"]).await, (200, Outcome::Repinned));
        members.remove("a").unwrap();
        assert_eq!(outcome(&["pool-route=a"]).await, (503, Outcome::Unknown));
        assert_eq!(outcome(&["pool-route=a; pool-route=b"]).await, (200, Outcome::Hit));
    }

    #[tokio::test]
    async fn clients_of_a_full_member_wait_or_move() {
        for (stickiness, expected) in [
            (Stickiness::Soft, 200),
            (Stickiness::Hard, 503),
            (Stickiness::HardFor(Duration::from_secs(60)), 503),
        ] {
            let scripted = || Scripted { fails: None, is_ready: false };
            let sticky = StickyRoute::builder("pool")
                .member(Member::new("a", scripted()).max_in_flight(1))
                .member(Member::new("b", scripted()).weight(0).max_in_flight(0))
                .member(Member::new("c", scripted()))
                .cookie(RouteCookie::plain())
                .stickiness(stickiness)
                .build()
                .unwrap();
            let send = async || sticky.clone().oneshot(request("GET", "/", &["pool-route=a"])).await.unwrap();
            let streaming = send().await;
            assert_eq!(decision(&streaming).1, Outcome::Hit);
            let response = send().await;
            assert_eq!(response.status(), expected, "{stickiness:?}");
            if expected == 200 {
                assert_eq!(decision(&response), ("c".to_owned(), Outcome::Repinned, 1));
            } else {
                assert_eq!(response.headers()["retry-after"], "5");
            }
            drop(streaming);
            assert_eq!(decision(&send().await).1, Outcome::Hit);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_cookie_a_member_of_the_pool_answers(
            line in prop::collection::vec(prop_oneof![Just(b's'), Just(b'='), Just(b';'), Just(b'.'), Just(b'a'), 0x20..=0xff_u8], 0..24),
        ) {
            let line: Vec<u8> = line.into_iter().filter(|byte| *byte != 0x7f).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for cookie in [
                RouteCookie::plain().name("s"),
                RouteCookie::opaque([[1; 32]]).name("s"),
                RouteCookie::managed_suffix("s", '.'),
                RouteCookie::suffix("s", '.'),
                RouteCookie::whole_value("s"),
            ] {
                let mut with_line = request("GET", "/", &[]);
                with_line.headers_mut().insert("cookie", HeaderValue::from_bytes(&line).unwrap());
                let response = runtime.block_on(sticky(cookie.clone(), None).oneshot(with_line)).unwrap();
                let (route, outcome, _) = decision(&response);
                prop_assert!(route == "a" || route == "b");
                if let Some(set) = response.headers().get("set-cookie") {
                    prop_assert_ne!(outcome, Outcome::Hit);
                    let pin = set.to_str().unwrap().split(';').next().unwrap().to_owned();
                    let pinned = request("GET", "/", &[&pin]);
                    let again = runtime.block_on(sticky(cookie, None).oneshot(pinned));
                    prop_assert_eq!(decision(&again.unwrap()), (route, Outcome::Hit, 1));
                }
            }
        }
    }

    /// Its locks are held by another thread the while.
    #[test]
    fn a_pinned_request_takes_no_lock() {
        let sticky = sticky(RouteCookie::opaque([[1; 32]]).max_idle(Duration::from_secs(3600)), None);
        let serve = |sticky: &StickyRoute<Scripted>, cookies: &[&str]| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(sticky.clone().oneshot(request("GET", "/", cookies))).unwrap()
        };
        let first = serve(&sticky, &[]);
        let pin = first.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let shared = sticky.shared.clone();
        let _changes = shared.changes.lock().unwrap();
        let _turns = shared.picker.turn();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(decision(&serve(&sticky, &[&pin]))));
        let served = receive.recv_timeout(Duration::from_secs(20)).expect("no lock");
        assert_eq!(served, (decision(&first).0, Outcome::Hit, 1));
    }

    #[tokio::test]
    async fn a_pool_may_start_empty() {
        let sticky = StickyRoute::builder("pool").cookie(RouteCookie::plain()).build().unwrap();
        let response = sticky.clone().oneshot(request("GET", "/", &[])).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        sticky.membership().insert(Member::new("a", Scripted { fails: None, is_ready: false })).unwrap();
        assert_eq!(decision(&sticky.oneshot(request("GET", "/", &[])).await.unwrap()).0, "a");
    }

    #[tokio::test]
    async fn no_member_is_a_response_of_ours() {
        let sticky = sticky(RouteCookie::plain(), None);
        sticky.membership().set_state("a", State::Stopped).unwrap();
        sticky.membership().remove("b").unwrap();
        let response = sticky.clone().oneshot(request("GET", "/", &["pool-route=a"])).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "5");
        assert_eq!(response.headers()["content-length"], "0");
        assert!(!response.headers().contains_key("set-cookie"));
        assert_eq!(response.extensions().get::<Refusal>().unwrap().kind(), RefusalKind::NoMember);
        assert_eq!(response.extensions().get::<Decision>().unwrap().outcome(), Outcome::Unusable);
        let mut grpc = request("POST", "/", &[]);
        grpc.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let response = sticky.oneshot(grpc).await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["grpc-status"]),
            (StatusCode::OK, &"14".parse().unwrap())
        );
    }

    #[test]
    fn members_come_and_go_while_requests_run() {
        let sticky = sticky(RouteCookie::plain(), None);
        let members = sticky.membership();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    for _ in 0..500 {
                        let response =
                            runtime.block_on(sticky.clone().oneshot(request("GET", "/", &[]))).unwrap();
                        assert_eq!(response.status(), StatusCode::OK);
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..200 {
                    members.remove("b").unwrap();
                    members.insert(Member::new("b", Scripted { fails: None, is_ready: false })).unwrap();
                    members.set_weight("a", 7).unwrap();
                }
            });
        });
        assert!(members.status().iter().all(|member| member.in_flight() == 0));
    }
}
