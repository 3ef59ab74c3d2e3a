//! Where pins stand, how long they hold, and that no member sees one.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use proptest::prelude::*;
use tower::{Service, ServiceExt};
use tower_proxied::sticky_route::{
    Builder, Decision, Member, Outcome, RequestBody, RouteCookie, State, StickyRoute,
};

const HOUR: Duration = Duration::from_secs(3600);
const KEY: [u8; 32] = [7; 32];

/// A member that tells what it saw, and answers as it is told.
#[derive(Clone, Default)]
struct Told {
    seen: Arc<Mutex<(Uri, HeaderMap)>>,
    answer: Arc<Mutex<Response<()>>>,
}

impl Service<Request<RequestBody<()>>> for Told {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<()>>) -> Self::Future {
        let (parts, _) = request.into_parts();
        *self.seen.lock().unwrap() = (parts.uri, parts.headers);
        ready(Ok(self.answer.lock().unwrap().clone()))
    }
}

/// A pool of the members `a` and `b`, its wall clock, and what its members are told.
struct Pool {
    sticky: StickyRoute<Told>,
    clock: Arc<AtomicU64>,
    member: Told,
}

impl Pool {
    fn new(cookie: RouteCookie) -> Self {
        Self::built("shop", &["a", "b"], cookie)
    }

    fn built(name: &str, routes: &[&str], cookie: RouteCookie) -> Self {
        let clock = Arc::new(AtomicU64::new(1_700_000_000));
        let (now, member) = (clock.clone(), Told::default());
        let builder: Builder<Told> = StickyRoute::builder(name)
            .cookie(cookie)
            .wall_clock(move || UNIX_EPOCH + Duration::from_secs(now.load(Ordering::Relaxed)));
        let builder =
            routes.iter().fold(builder, |builder, route| builder.member(Member::new(route, member.clone())));
        Self { sticky: builder.build().unwrap(), clock, member }
    }

    fn after(&self, seconds: u64) -> &Self {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
        self
    }

    fn members_answer(&self, status: u16, lines: &[(&'static str, &str)]) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in lines {
            response.headers_mut().append(HeaderName::from_static(name), value.parse().unwrap());
        }
        *self.member.answer.lock().unwrap() = response;
    }

    fn get(&self, uri: &str, lines: &[(&'static str, &str)]) -> Seen {
        self.send("GET", uri, lines)
    }

    fn send(&self, method: &str, uri: &str, lines: &[(&'static str, &str)]) -> Seen {
        let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request.headers_mut().append(HeaderName::from_static(name), value);
        }
        let mut answer = std::pin::pin!(self.sticky.clone().oneshot(request));
        let Poll::Ready(response) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            unreachable!("nothing here waits")
        };
        let (head, _) = response.unwrap().into_parts();
        let decision = head.extensions.get::<Decision>().unwrap();
        let inner = std::mem::take(&mut *self.member.seen.lock().unwrap());
        Seen {
            outcome: decision.outcome(),
            route: decision.route().map(ToString::to_string).unwrap_or_default(),
            inner,
            headers: head.headers,
        }
    }
}

struct Seen {
    outcome: Outcome,
    route: String,
    inner: (Uri, HeaderMap),
    headers: HeaderMap,
}

impl Seen {
    /// The pair that the client sends back.
    fn pin(&self) -> Option<String> {
        let mut lines = self.headers.get_all(SET_COOKIE).iter();
        let pin = lines.next().map(|line| line.to_str().unwrap().split(';').next().unwrap().to_owned());
        assert!(lines.next().is_none());
        pin
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    fn member_saw(&self, name: &str) -> Vec<&[u8]> {
        self.inner.1.get_all(name).iter().map(HeaderValue::as_bytes).collect()
    }
}

#[test]
fn a_client_that_keeps_coming_stays_and_is_not_told_each_time() {
    let pool = Pool::new(RouteCookie::opaque([KEY]).max_idle(HOUR));
    let first = pool.get("/", &[]);
    let mut pin = first.pin().unwrap();
    for (seconds, outcome) in [
        (0, Outcome::Hit),
        (59, Outcome::Hit),
        (1, Outcome::HitReissue),
        (3600, Outcome::HitReissue),
        (3000, Outcome::HitReissue),
        (10, Outcome::Hit),
    ] {
        let seen = pool.after(seconds).get("/", &[("cookie", &pin)]);
        assert_eq!((seen.outcome, &seen.route), (outcome, &first.route), "after {seconds}");
        assert_eq!(seen.pin().is_some(), outcome == Outcome::HitReissue);
        assert!(seen.member_saw("cookie").is_empty());
        pin = seen.pin().unwrap_or(pin);
    }
    let seen = pool.after(3601).get("/", &[("cookie", &pin)]);
    assert_eq!(seen.outcome, Outcome::Expired);
    assert_ne!(seen.pin().unwrap(), pin);
    assert_eq!(seen.all("cache-control"), ["private"]);
}

#[test]
fn a_life_ends_however_busy_it_is_and_another_member_begins_a_new_one() {
    let pool = Pool::new(RouteCookie::opaque([KEY]).max_idle(HOUR).max_life(2 * HOUR));
    let mut seen = pool.get("/", &[]);
    let mut pin = seen.pin().unwrap();
    for _ in 0..4 {
        seen = pool.after(1800).get("/", &[("cookie", &pin)]);
        assert_eq!(seen.outcome, Outcome::HitReissue);
        pin = seen.pin().unwrap();
    }
    assert_eq!(pool.after(1).get("/", &[("cookie", &pin)]).outcome, Outcome::Expired);

    let members = pool.sticky.membership();
    let seen = pool.get("/", &[]);
    let pin = seen.pin().unwrap();
    members.set_state(&seen.route, State::Stopped).unwrap();
    let moved = pool.after(3600).get("/", &[("cookie", &pin)]);
    assert_eq!(moved.outcome, Outcome::Repinned);
    let pin = moved.pin().unwrap();
    let pin = pool.after(3600).get("/", &[("cookie", &pin)]).pin().unwrap();
    assert_eq!(pool.after(3600).get("/", &[("cookie", &pin)]).outcome, Outcome::HitReissue);
    assert_eq!(pool.after(1).get("/", &[("cookie", &pin)]).outcome, Outcome::Expired);
}

#[test]
fn limits_come_and_go_without_logging_anybody_out() {
    let opaque = || RouteCookie::opaque([KEY]);
    for (before, after) in [
        (opaque(), opaque().max_idle(HOUR)),
        (opaque().max_idle(HOUR), opaque()),
        (opaque().max_idle(HOUR), opaque().max_life(HOUR)),
        (RouteCookie::plain(), opaque().accept_plain().max_idle(HOUR)),
        (RouteCookie::opaque([[8; 32]]).max_life(HOUR), RouteCookie::opaque([KEY, [8; 32]]).max_life(HOUR)),
    ] {
        let first = Pool::new(before).get("/", &[]);
        let pool = Pool::new(after);
        let second = pool.get("/", &[("cookie", &first.pin().unwrap())]);
        assert_eq!((second.outcome, &second.route), (Outcome::HitReissue, &first.route));
        let third = pool.get("/", &[("cookie", &second.pin().unwrap())]);
        assert_eq!((third.outcome, &third.route), (Outcome::Hit, &first.route));
    }
}

#[test]
fn a_seal_of_another_pool_key_or_date_is_none() {
    let cookie = || RouteCookie::opaque([KEY]).name("r").max_idle(HOUR);
    let pin = Pool::new(cookie()).get("/", &[]).pin().unwrap();
    let at = pin.rfind('.').unwrap();
    let older = Pool::new(cookie());
    let other = older.after(60).get("/", &[("cookie", &pin)]).pin().unwrap();
    let swapped = format!("{}{}", &pin[..at], &other[other.rfind('.').unwrap()..]);
    assert_ne!(swapped, pin);
    let unknown = |pool: &Pool, pin: &str| pool.get("/", &[("cookie", pin)]).outcome == Outcome::Unknown;
    assert!(unknown(&Pool::new(cookie()), &swapped), "{swapped}");
    assert!(unknown(&Pool::new(cookie()), &pin[..at]));
    assert!(unknown(&Pool::built("shop2", &["a", "b"], cookie()), &pin));
    assert!(unknown(&Pool::new(RouteCookie::opaque([[8; 32]]).name("r").max_idle(HOUR)), &pin));
    assert!(!unknown(&Pool::new(cookie()), &pin));
}

#[test]
fn of_several_pins_a_stale_one_is_passed_over() {
    let pool = Pool::new(RouteCookie::opaque([KEY]).max_idle(HOUR));
    let stale = pool.get("/", &[]).pin().unwrap();
    let fresh = pool.after(3601).get("/", &[]);
    let pin = fresh.pin().unwrap();
    for lines in [
        &[("cookie", &*stale), ("cookie", &*pin)][..],
        &[("cookie", &*pin), ("cookie", &*stale)],
        &[("cookie", &*format!("shop-route=gone; {stale}; {pin}"))],
    ] {
        let seen = pool.get("/", lines);
        assert_eq!((seen.outcome, &seen.route), (Outcome::Hit, &fresh.route));
        assert!(seen.member_saw("cookie").is_empty());
    }
    for line in [format!("shop-route=gone; {stale}"), format!("{stale}; shop-route=gone")] {
        assert_eq!(pool.get("/", &[("cookie", &line)]).outcome, Outcome::Expired, "{line}");
    }
}

#[test]
fn of_several_members_that_take_nothing_the_first_counts() {
    let pool = Pool::new(RouteCookie::plain());
    for (line, first) in
        [("shop-route=b; shop-route=a", "b"), ("shop-route=gone; shop-route=a; shop-route=b", "a")]
    {
        for route in ["a", "b"] {
            pool.sticky.membership().set_state(route, State::Ejected).unwrap();
        }
        // Where all are ejected, a pinned client's own is tried.
        let seen = pool.get("/", &[("cookie", line)]);
        assert_eq!((seen.outcome, &*seen.route), (Outcome::Hit, first), "{line}");
    }
}

#[test]
fn a_failure_renews_nothing_and_any_method_renews() {
    let pool = Pool::new(RouteCookie::opaque([KEY]).max_idle(HOUR).insert_on([http::Method::POST]));
    assert_eq!(pool.get("/", &[]).pin(), None);
    let pin = pool.send("POST", "/", &[]).pin().unwrap();
    pool.after(1800);
    for status in [502, 503, 504] {
        pool.members_answer(status, &[]);
        let seen = pool.get("/", &[("cookie", &pin)]);
        assert_eq!((seen.pin(), seen.all("cache-control")), (None, vec![]), "{status}");
    }
    pool.members_answer(500, &[]);
    assert!(pool.get("/", &[("cookie", &pin)]).pin().is_some());
}

#[test]
fn a_header_carries_the_pin_of_clients_without_cookies() {
    for cookie in
        [RouteCookie::opaque([KEY]), RouteCookie::plain(), RouteCookie::opaque([KEY]).max_life(HOUR)]
    {
        let pool = Pool::new(cookie.in_header("X-Route"));
        pool.members_answer(200, &[("x-route", "of the member"), ("x-route", "b")]);
        let first = pool.get("/", &[]);
        assert_eq!(first.outcome, Outcome::New);
        let [pin] = first.all("x-route")[..] else { panic!("{:?}", first.headers) };
        assert!(!first.headers.contains_key(SET_COOKIE));
        assert_eq!(first.headers[CACHE_CONTROL], "private");

        let seen = pool.get("/", &[("x-route", "gone"), ("x-route", pin), ("cookie", "shop-route=b; x=1")]);
        assert_eq!((seen.outcome, &seen.route), (Outcome::Hit, &first.route));
        assert_eq!((seen.all("x-route"), seen.all("cache-control")), (vec![], vec![]));
        assert!(seen.member_saw("x-route").is_empty());
        assert_eq!(seen.member_saw("cookie"), [b"shop-route=b; x=1"], "no cookie of ours");
        assert_eq!(pool.get("/", &[("x-route", "\u{e9}")]).outcome, Outcome::Unknown);
    }
}

#[test]
fn a_member_may_end_the_affinity_where_it_is_let() {
    let lets = || RouteCookie::plain().let_members_end_it();
    for (cookie, line, gone) in [
        (lets(), ("set-cookie", "shop-route=; Max-Age=0"), true),
        (lets(), ("set-cookie", "shop-route=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT"), true),
        // The wall clock of the pool says so, and not that of the machine.
        (lets(), ("set-cookie", "shop-route=x; Expires=Tue, 14 Nov 2023 22:13:20 GMT"), true),
        (lets(), ("set-cookie", "shop-route=x; Expires=Tue, 14 Nov 2023 22:13:21 GMT"), false),
        (lets(), ("set-cookie", "shop-route=b"), false),
        (RouteCookie::plain(), ("set-cookie", "shop-route=; Max-Age=0"), false),
        (lets().in_header("x-route"), ("x-route", ""), true),
        (lets().in_header("x-route"), ("x-route", "b"), false),
        (RouteCookie::plain().in_header("x-route"), ("x-route", ""), false),
    ] {
        let pool = Pool::new(cookie);
        pool.members_answer(200, &[line]);
        let expected = if gone { vec![line.1] } else { vec![] };
        let pinned = if line.0 == "x-route" { ("x-route", "a") } else { ("cookie", "shop-route=a") };
        assert_eq!(pool.get("/", &[pinned]).all(line.0), expected, "{line:?}");
        let new = pool.get("/", &[]);
        assert_eq!(new.all(line.0).len(), 1, "either the end or a pin: {line:?}");
        assert_eq!(new.all(line.0) == expected, gone);
    }
}

#[test]
fn a_parameter_of_the_url_counts_only_where_it_is_asked_for() {
    let suffix = || RouteCookie::suffix("JSESSIONID", '.');
    let cookie = ("cookie", "JSESSIONID=1.a");
    let off = Pool::new(suffix());
    assert_eq!(off.get("/;jsessionid=1.b?jsessionid=1.b", &[]).outcome, Outcome::Absent);
    assert_eq!(off.get("/?jsessionid=1.b", &[cookie]).route, "a");

    let after = Pool::new(suffix().or_url_parameter("jsessionid"));
    let before = Pool::new(suffix().url_parameter_or_cookie("jsessionid"));
    for uri in ["/app;jsessionid=1.b", "/app/x;v=1;jsessionid=1.b/y?z", "/?a=b&jsessionid=1.b"] {
        assert_eq!(after.get(uri, &[cookie]).route, "a", "{uri}");
        assert_eq!(before.get(uri, &[cookie]).route, "b", "{uri}");
        for pool in [&after, &before] {
            let seen = pool.get(uri, &[]);
            assert_eq!((seen.outcome, &*seen.route), (Outcome::Hit, "b"), "{uri}");
            assert_eq!(seen.inner.0, uri, "it goes on as it is");
            assert_eq!(seen.headers.len(), 0);
        }
    }
    for uri in ["/jsessionid=1.b", "/?myjsessionid=1.b", "/?JSESSIONID=1.b", "/?x=;jsessionid=1.b"] {
        assert_eq!(before.get(uri, &[]).outcome, Outcome::Absent, "{uri}");
    }
    for uri in ["/?jsessionid=1.gone", "/?jsessionid=1%2Eb", "/?jsessionid="] {
        assert_eq!(before.get(uri, &[]).outcome, Outcome::NoRoute, "{uri}");
        assert_eq!(before.get(uri, &[cookie]).route, "a", "{uri}");
    }
    // Whichever names a member that takes the request.
    after.sticky.membership().set_state("a", State::Stopped).unwrap();
    before.sticky.membership().set_state("b", State::Stopped).unwrap();
    assert_eq!(after.get("/?jsessionid=1.b", &[cookie]).route, "b");
    assert_eq!(before.get("/?jsessionid=1.b", &[cookie]).route, "a");
}

#[test]
fn two_pools_take_each_others_routes_off_one_session_cookie() {
    let cookie = |others: [&str; 2]| RouteCookie::managed_suffix("sessionid", '.').other_routes(others);
    let http = Pool::built("http", &["http-1", "http-2"], cookie(["https-1", "https-2"]));
    let https = Pool::built("https", &["https-1", "https-2"], cookie(["http-1", "http-2"]));
    let mut pin = "sessionid=s.1".to_owned();
    for pool in [&http, &https, &https, &http, &https, &http] {
        pool.members_answer(200, &[]);
        let seen = pool.get("/", &[("cookie", &pin)]);
        assert_eq!(seen.member_saw("cookie"), [b"sessionid=s.1"], "{pin}");
        assert_eq!(seen.pin(), None);
        pool.members_answer(200, &[("set-cookie", "sessionid=s.1; Path=/")]);
        let seen = pool.get("/", &[("cookie", &pin)]);
        pin = seen.pin().unwrap();
        assert_eq!(pin, format!("sessionid=s.1.{}", seen.route));
    }
    // What no pool knows is the session's own.
    let seen = http.get("/", &[("cookie", "sessionid=eyJh.eyJz.SflK")]);
    assert_eq!(seen.member_saw("cookie"), [b"sessionid=eyJh.eyJz.SflK"]);
}

#[test]
fn a_shared_cache_is_told_wherever_it_looks() {
    let pool = Pool::new(RouteCookie::opaque([KEY]));
    pool.members_answer(
        200,
        &[("cache-control", "public, s-maxage=60"), ("cdn-cache-control", "max-age=60"), ("vary", "accept")],
    );
    let seen = pool.get("/", &[]);
    assert_eq!(seen.all("cache-control"), ["public, s-maxage=60", "private"]);
    assert_eq!(seen.all("cdn-cache-control"), ["max-age=60", "private"]);
    assert_eq!(seen.all("vary"), ["accept"]);
    let hit = pool.get("/", &[("cookie", &seen.pin().unwrap())]);
    assert_eq!(hit.all("cache-control"), ["public, s-maxage=60"]);
    assert_eq!(hit.all("cdn-cache-control"), ["max-age=60"]);
}

#[test]
fn no_debug_text_holds_a_key_or_a_token() {
    let pool = Pool::new(RouteCookie::opaque([*b"an unusual key of 32 bytes, this"]).max_idle(HOUR));
    let seen = pool.get("/", &[]);
    let pin = seen.pin().unwrap();
    let token = &pin["shop-route=".len()..][..32];
    let builder = StickyRoute::<()>::builder("shop")
        .cookie(RouteCookie::opaque([*b"an unusual key of 32 bytes, this"]));
    let texts =
        [format!("{:?}", pool.sticky), format!("{builder:?}"), format!("{:?}", pool.sticky.membership())];
    for text in texts {
        assert!(
            !text.contains(token) && !text.contains("unusual") && !text.contains("97, 110, 32"),
            "{text}"
        );
    }
}

proptest! {
    /// `strip(insert(h)) == h`: wherever browsers and proxies put the pin, however they quote and repeat it, the member
    /// sees the lines as they are without it.
    #[test]
    fn the_member_sees_the_lines_without_the_pin(
        lines in prop::collection::vec(prop::collection::vec("[a-c\u{e9}\"=.,]{0,3}=[a-c\u{e9}\" =.,]{0,4}", 1..4), 0..3),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..3),
        spelling in 0..4,
        of_a_line in any::<bool>(),
        is_dated: bool,
    ) {
        let cookie = RouteCookie::opaque([KEY]);
        let pool = Pool::new(if is_dated { cookie.max_idle(HOUR) } else { cookie });
        let issued = pool.get("/", &[]);
        let pin = issued.pin().unwrap();
        let (name, value) = pin.split_once('=').unwrap();
        let pair = match spelling {
            0 => pin.clone(),
            1 => format!("{name}=\"{value}\""),
            2 => format!("{name} = {value}"),
            _ => format!("{name}=\t{value}"),
        };
        let line = |pairs: &Vec<String>| pairs.join("; ").trim_matches([' ', '\t']).to_owned();
        let without: Vec<String> = lines.iter().map(line).collect();
        let mut with = lines.clone();
        for (at, within) in places {
            if of_a_line || with.is_empty() {
                with.insert(at.index(with.len() + 1), vec![pair.clone()]);
            } else {
                let at = at.index(with.len());
                let within = within.index(with[at].len() + 1);
                with[at].insert(within, pair.clone());
            }
        }
        let with: Vec<String> = with.iter().map(line).collect();
        let seen = pool.get("/", &with.iter().map(|line| ("cookie", &**line)).collect::<Vec<_>>());
        prop_assert_eq!((seen.outcome, &seen.route), (Outcome::Hit, &issued.route));
        // A field value has no blanks at its ends.
        let left: Vec<String> = seen
            .inner
            .1
            .get_all(COOKIE)
            .iter()
            .map(|line| std::str::from_utf8(line.as_bytes()).unwrap().trim_matches([' ', '\t']).to_owned())
            .collect();
        prop_assert_eq!(left, without);
    }
}
