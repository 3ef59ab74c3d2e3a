use std::any::Any;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use serde_json::Value;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_proxied::sticky_route::{
    Balance, BuildError, Builder, Decision, Failover, Member, Membership, Outcome, Phase, RequestBody, Role,
    Route, RouteCookie, SameSite, Secure, State, Stickiness, StickyRoute, TriedRoutes,
};
use tower_proxied::{ForwardedForLayer, PeerAddr, Scheme, TrustedProxies};

use crate::sticky_admin;
use crate::support::{self, Case, Verdict, equal};

pub(crate) fn run(case: &Case) -> Verdict {
    match case.id.as_str() {
        "weight-change-keeps-health" => return weight_change_keeps_health(case),
        "in-flight-until-body-end" => return in_flight_until_body_end(case),
        "snapshot-shrinks-during-pick" => return snapshot_shrinks_during_pick(case),
        id if id.starts_with("admin-") => return sticky_admin::run(case),
        _ => {}
    }
    support::only_keys(
        &case.given,
        &["members", "config", "request", "attempts_result", "upstream", "clock", "picked", "sequence_in"],
    )?;
    support::only_keys(
        &case.given["config"],
        &[
            "mode",
            "cookie",
            "sep",
            "codec",
            "keys",
            "accept_legacy",
            "policy",
            "count_sticky",
            "compare_with_weights",
            "in_flight_constant",
            "path",
            "domain",
            "same_site",
            "secure",
            "partitioned",
            "max_age",
            "max_idle",
            "max_life",
            "url_param",
            "order",
            "insert_on",
            "preserve_upstream",
            "stickiness",
            "retry",
            "panic",
            "retry_status",
            "fail_on_status",
            "on_failover",
            "replay",
            "replay_cap",
            "trust_idempotency_key",
            "errors_to_502",
            "hard_unknown",
            "successors",
            "slow_start",
            "process_uptime_s",
        ],
    )?;
    support::only_keys(&case.given["clock"], &["unix", "process_uptime_s"])?;
    for member in case.given["members"].as_array().unwrap() {
        support::only_keys(
            member,
            &[
                "route",
                "weight",
                "status",
                "down_for",
                "probe_in_flight",
                "drain_deadline",
                "ignore_errors",
                "in_flight",
                "tier",
                "successor",
                "member_for",
            ],
        )?;
    }
    if let Some(expected) = case.expect.get("build_error") {
        support::only_keys(&case.expect, &["build_error"])?;
        return match Pool::new(&case.given) {
            Err(_) => Ok(()),
            Ok(_) => Err(format!("built, expected {expected}")),
        };
    }
    let pool = Pool::new(&case.given)?;
    if let Some(expected) = case.expect.get("effective_weight") {
        support::only_keys(&case.expect, &["effective_weight"])?;
        return effective_weights(&pool, expected);
    }
    support::block_on(async {
        if case.given.get("request").is_some() {
            exchange(case, &pool).await
        } else {
            sequence(case, &pool).await
        }
    })
}

async fn exchange(case: &Case, pool: &Pool) -> Verdict {
    let (given, expect) = (&case.given, &case.expect);
    support::only_keys(
        &given["request"],
        &["method", "path", "cookie", "scheme", "headers", "trusted", "body", "extensions"],
    )?;
    support::only_keys(
        expect,
        &[
            "route",
            "set_cookie",
            "forwarded_cookie",
            "outcome",
            "response_status",
            "response_body",
            "cache_control_added",
            "set_cookie_count",
            "set_cookie_must_not_contain",
            "attempts",
            "retry_after",
            "member_status_after",
            "must_terminate",
            "must_not_panic",
            "probe",
            "body_error",
            "in_flight_after",
            "failures_after",
        ],
    )?;
    let request = pool.request(&given["request"]);
    let is_dropped = given["attempts_result"].as_object().is_some_and(|results| {
        results.values().any(|result| result == "client dropped the future while waiting")
    });
    if is_dropped {
        let answer = tokio::time::timeout(Duration::from_millis(10), pool.serve(&given["request"], request));
        if answer.await.is_ok() {
            return Err("answered".to_owned());
        }
        let calls = pool.calls();
        equal("route", calls.last().map(|call| call.0.as_str()), expect["route"].as_str())?;
        let status = pool.membership.status();
        equal("in flight", status.iter().map(|member| member.in_flight()).sum::<usize>(), 0)?;
        let is_ok = status.iter().all(|member| member.state() == State::Ok);
        return equal("no failure counted", is_ok, expect["failures_after"] == 0);
    }
    let response = pool.serve(&given["request"], request).await.map_err(|error| format!("{error:?}"))?;
    let (head, body) = response.into_parts();
    let decision = head.extensions.get::<Decision>().ok_or("no decision")?.clone();
    let body = body.collect().await.map(|body| body.to_bytes());

    let route = decision.route().map(|route| route.as_str().to_owned());
    let expected = expect["route"].as_str().unwrap();
    let is_status = expected.len() == 3 && expected.bytes().all(|byte| byte.is_ascii_digit());
    if is_status {
        equal("status", head.status.as_str(), expected)?;
    } else if let Some(routes) = expected.strip_prefix("any of [").and_then(|rest| rest.strip_suffix(']')) {
        let route = route.as_deref().ok_or("no member answered")?;
        // The one that has none is no member: see `Pool::new`.
        if !routes.split(", ").any(|expected| expected == route && expected != "<unrouted>") {
            return Err(format!("{route} answered"));
        }
    } else {
        equal("route", route.as_deref(), Some(expected))?;
    }
    if let Some(picked) = given.get("picked") {
        equal("picked", route.as_deref(), picked.as_str())?;
    }
    equal("outcome", outcome(decision.outcome()), expect["outcome"].as_str().unwrap())?;

    let set: Vec<String> = head.headers.get_all(header::SET_COOKIE).iter().map(latin1_text).collect();
    let name = given["config"]["cookie"].as_str().unwrap();
    let ours: Vec<&String> = set.iter().filter(|line| line.starts_with(&format!("{name}="))).collect();
    match &expect["set_cookie"] {
        Value::Null => equal("set-cookie", ours, vec![])?,
        Value::String(expected) => {
            let expected = pool.issued(name, expected, route.as_deref().unwrap_or_default());
            let [line] = ours[..] else { return Err(format!("set-cookie: {ours:?}, expected {expected}")) };
            // Where only name and value are given, the attributes are left open.
            let seen = if expected.contains(';') { line } else { line.split(';').next().unwrap() };
            equal("set-cookie", seen, expected.as_str())?;
            for text in expect["set_cookie_must_not_contain"].as_array().into_iter().flatten() {
                equal("set-cookie tells", line.contains(text.as_str().unwrap()), false)?;
            }
        }
        other => return Err(format!("set_cookie {other}")),
    }
    if let Some(count) = expect.get("set_cookie_count").and_then(Value::as_u64) {
        equal("lines", set.len() as u64, count)?;
    }
    let calls = pool.calls();
    let forwarded: Vec<String> = calls
        .last()
        .map(|call| call.1.get_all(header::COOKIE).iter().map(latin1_text).collect())
        .unwrap_or_default();
    let expected: Vec<String> = match &expect["forwarded_cookie"] {
        Value::Null => vec![],
        value => vec![value.as_str().unwrap().to_owned()],
    };
    equal("forwarded cookie", forwarded, expected)?;
    if let Some(attempts) = expect.get("attempts") {
        let routes: Vec<&str> = calls.iter().map(|call| call.0.as_str()).collect();
        let expected: Vec<&str> =
            attempts.as_array().unwrap().iter().map(|route| route.as_str().unwrap()).collect();
        equal("attempts", routes, expected)?;
        equal("number of attempts", decision.attempts(), attempts.as_array().unwrap().len())?;
    }
    if let Some(status) = expect.get("response_status").and_then(Value::as_u64) {
        equal("status", u64::from(head.status.as_u16()), status)?;
    }
    if let Some(text) = expect.get("response_body") {
        equal("body", body.as_ref().ok(), Some(&body_of(text)))?;
    }
    if let Some(is_error) = expect.get("body_error").and_then(Value::as_bool) {
        equal("body error", body.is_err(), is_error)?;
    }
    if let Some(added) = expect.get("cache_control_added") {
        let lines = |headers: &HeaderMap| -> Vec<String> {
            headers.get_all(header::CACHE_CONTROL).iter().map(latin1_text).collect()
        };
        let mut expected = lines(&pool.script.upstream_headers);
        expected.extend(added.as_str().map(str::to_owned));
        equal("cache-control", lines(&head.headers), expected)?;
    }
    match expect.get("retry_after") {
        None => {}
        Some(seconds) => {
            let seen = head.headers.get(header::RETRY_AFTER).map(latin1_text).ok_or("no retry-after")?;
            if let Some(seconds) = seconds.as_u64() {
                equal("retry-after", seen, seconds.to_string())?;
            }
        }
    }
    if expect["probe"] == true {
        let was_ejected = pool.states_before.get(route.as_deref().unwrap()) == Some(&State::Ejected);
        let is_ok = pool.state(route.as_deref().unwrap()) == State::Ok;
        equal("ejected before, well after", (was_ejected, is_ok), (true, true))?;
    }
    for (route, state) in expect["member_status_after"].as_object().into_iter().flatten() {
        let expected = if state == "error" { State::Ejected } else { State::Ok };
        equal("state after", pool.state(route), expected)?;
    }
    Ok(())
}

async fn sequence(case: &Case, pool: &Pool) -> Verdict {
    let expect = &case.expect;
    support::only_keys(
        expect,
        &[
            "sequence",
            "same_sequence",
            "counts_per_13",
            "period",
            "counts_new",
            "while_second_down",
            "next_two_after_up",
            "lbstatus",
        ],
    )?;
    if let Some(counts) = expect.get("while_second_down") {
        pool.membership.set_state("second", State::Ejected).unwrap();
        equal("while down", count(&pool.answers(3).await), numbers(counts))?;
        pool.membership.set_state("second", State::Ok).unwrap();
        return equal("after", count(&pool.answers(2).await), numbers(&expect["next_two_after_up"]));
    }
    let steps: Vec<String> = match case.given.get("sequence_in") {
        Some(steps) => {
            steps.as_array().unwrap().iter().map(|step| step.as_str().unwrap().to_owned()).collect()
        }
        None => vec!["new".to_owned(); expect["sequence"].as_array().unwrap().len()],
    };
    let mut new = Vec::new();
    for step in &steps {
        match step.strip_prefix("sticky:") {
            None => {
                new.push(pool.answer(None).await);
                if let Some(tables) = expect.get("lbstatus").and_then(Value::as_array) {
                    pool.owes(&tables[(new.len() - 1) % tables.len()])?;
                }
            }
            Some(route) => equal("hit", pool.answer(Some(route)).await.as_str(), route)?,
        }
    }
    if let Some(expected) = expect.get("sequence") {
        let expected: Vec<&str> =
            expected.as_array().unwrap().iter().map(|route| route.as_str().unwrap()).collect();
        equal("sequence", new.iter().map(String::as_str).collect::<Vec<_>>(), expected)?;
    }
    if let Some(period) = expect.get("period").and_then(Value::as_u64) {
        equal("one period", new.len() as u64, period)?;
        equal("the next period", pool.answers(new.len()).await, new.clone())?;
    }
    if let Some(counts) = expect.get("counts_per_13") {
        equal("counts", count(&new[..13]), numbers(counts))?;
    }
    if let Some(counts) = expect.get("counts_new") {
        equal("counts", count(&new), numbers(counts))?;
    }
    if expect["same_sequence"] == true {
        let mut given = case.given.clone();
        let weights = given["config"]["compare_with_weights"].take();
        for (member, weight) in
            given["members"].as_array_mut().unwrap().iter_mut().zip(weights.as_array().unwrap())
        {
            member["weight"] = weight.clone();
        }
        equal("with other weights", Pool::new(&given)?.answers(new.len()).await, new)?;
    }
    Ok(())
}

/// The member that joined last, or each by its route.
fn effective_weights(pool: &Pool, expected: &Value) -> Verdict {
    let status = pool.membership.status();
    let weight = |route: &str| {
        let member = status.iter().find(|member| member.route().as_str() == route);
        Some(u64::from(member?.effective_weight_in_hundredths() / 100))
    };
    match expected.as_object() {
        None => equal("weight", weight("new"), expected.as_u64()),
        Some(expected) => {
            expected.iter().try_for_each(|(route, expected)| equal(route, weight(route), expected.as_u64()))
        }
    }
}

/// What the case tells step by step, from two threads at any step.
fn snapshot_shrinks_during_pick(case: &Case) -> Verdict {
    support::only_keys(&case.given, &["members", "config"])?;
    support::only_keys(&case.given["config"], &["policy", "interleaving"])?;
    support::only_keys(&case.expect, &["must_not_panic", "route"])?;
    equal("remove", &case.given["config"]["interleaving"][1], &Value::from("Remove(c)"))?;
    let pool = Pool::new(&case.given)?;
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for _ in 0..300 {
                pool.membership.remove("c").unwrap();
                pool.membership.insert(member(&case.given["members"][2], &pool.script).unwrap()).unwrap();
            }
        });
        while !changes.is_finished() {
            let route = futures_now(pool.answer(None));
            let expected = format!("any of [{}]", ["a", "b", "c"].join(", "));
            equal("any of", &case.expect["route"], &Value::from(expected))?;
            if !["a", "b", "c"].contains(&route.as_str()) {
                return Err(format!("{route} answered"));
            }
        }
        changes.join().map_err(|_| "a panic".to_owned())
    })
}

fn weight_change_keeps_health(case: &Case) -> Verdict {
    support::only_keys(&case.given["config"], &["op"])?;
    equal("op", &case.given["config"]["op"], &serde_json::json!(["set_weight(a, 5)"]))?;
    let pool = Pool::new(&case.given)?;
    pool.membership.set_weight("a", 5).unwrap();
    let status = &pool.membership.status()[0];
    equal("state", status.state(), State::Ejected)?;
    equal("weight", u64::from(status.weight_in_hundredths()), case.expect["weight"].as_u64().unwrap() * 100)
}

fn in_flight_until_body_end(case: &Case) -> Verdict {
    let pool = Pool::new(&case.given)?;
    let in_flight = || pool.membership.status()[0].in_flight() as u64;
    let request = || Request::new(Full::default());
    let mut seen = Vec::new();
    support::block_on(async {
        let mut body = pool.serve(&Value::Null, request()).await.unwrap().into_body();
        seen.push(in_flight());
        assert!(body.frame().await.unwrap().is_ok());
        seen.push(in_flight());
        assert!(body.frame().await.is_none());
        seen.push(in_flight());
        let dropped = pool.serve(&Value::Null, request()).await.unwrap();
        assert_eq!(in_flight(), 1);
        drop(dropped);
        assert_eq!(in_flight(), 0);
    });
    let expected: Vec<u64> =
        case.expect["in_flight"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    equal("in flight", seen, expected)
}

struct Pool {
    sticky: StickyRoute<Scripted>,
    membership: Membership<Scripted>,
    states_before: BTreeMap<String, State>,
    script: Arc<Script>,
    config: Value,
    /// The wall clock.
    unix: u64,
}

impl Pool {
    fn new(given: &Value) -> Result<Self, String> {
        let config = &given["config"];
        let script = Arc::new(Script {
            results: given["attempts_result"].clone(),
            upstream_status: given["upstream"]["status"].as_u64().map(|status| status as u16),
            upstream_headers: upstream_headers(&given["upstream"])?,
            hangs: Mutex::new(false),
            calls: Mutex::new(Vec::new()),
        });
        let unix = given["clock"]["unix"].as_u64().unwrap_or(1_700_000_000);
        let clock = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let now = clock.clone();
        let mut builder: Builder<Scripted> = StickyRoute::builder("vectors")
            .cookie(cookie(config)?)
            .classify(classify)
            .clock(move || start + Duration::from_secs(now.load(Ordering::Relaxed)))
            .wall_clock(move || UNIX_EPOCH + Duration::from_secs(unix))
            .balance(balance(given)?)
            .stickiness(match &config["stickiness"] {
                Value::Null => Stickiness::Soft,
                Value::String(text) if text == "hard" => match config["hard_unknown"].as_str() {
                    None => Stickiness::Hard,
                    Some("503") => Stickiness::Strict,
                    Some(other) => return Err(format!("hard_unknown {other}")),
                },
                other => Stickiness::HardFor(Duration::from_secs(other["hard_for"].as_u64().unwrap())),
            })
            .failover(failover(config)?)
            .slow_start(slow_start(&config["slow_start"])?);
        // A member without a route cannot be: a pool with one is not built, and so no empty cookie names it.
        let all = given["members"].as_array().unwrap();
        let members: Vec<&Value> = all.iter().filter(|member| !member["route"].is_null()).collect();
        if members.len() < all.len() {
            let unrouted = Member::new("", Scripted { route: String::new(), script: script.clone() });
            let pool = StickyRoute::builder("vectors").cookie(cookie(config)?).member(unrouted).build();
            equal("a member without a route", pool.is_err(), true)?;
        }
        // Whoever is no younger than the process was there from the start.
        const NOW: u64 = 100_000;
        let uptime = config["process_uptime_s"].as_u64().unwrap_or(NOW);
        let joined = |member: &Value| member["member_for"].as_u64().filter(|age| *age < uptime);
        for &member in members.iter().filter(|member| joined(member).is_none()) {
            builder = builder.member(self::member(member, &script)?);
        }
        for (gone, successor) in config["successors"].as_object().into_iter().flatten() {
            builder = builder.successor(gone, successor.as_str().unwrap());
        }
        let sticky = builder.build().map_err(|error: BuildError| error.to_string())?;
        let membership = sticky.membership();
        // The last ejected one first: time only goes on.
        let mut by_time = members.clone();
        by_time.sort_by_key(|member| {
            let age = member["down_for"].as_u64().or_else(|| joined(member));
            std::cmp::Reverse(age.unwrap_or(0))
        });
        for member in by_time {
            if let Some(age) = joined(member) {
                clock.store(NOW - age, Ordering::Relaxed);
                membership.insert(self::member(member, &script)?).unwrap();
            }
            let route = member["route"].as_str().unwrap();
            let age = member["down_for"].as_u64().or_else(|| joined(member)).unwrap_or(0);
            clock.store(NOW - age, Ordering::Relaxed);
            match (member["status"].as_str().unwrap(), member["drain_deadline"].as_i64()) {
                ("ok" | "standby" | "spare", None) => Ok(()),
                ("drain", None) => membership.set_state(route, State::Drain),
                ("drain", Some(..=0)) => membership.drain(route, Duration::ZERO).map(drop),
                ("disabled", None) => membership.set_state(route, State::Disabled),
                ("stopped", None) => membership.set_state(route, State::Stopped),
                ("error", None) => membership.set_state(route, State::Ejected),
                (other, _) => return Err(format!("status {other}")),
            }
            .unwrap();
        }
        clock.store(NOW, Ordering::Relaxed);
        let states_before =
            membership.status().iter().map(|member| (member.route().to_string(), member.state())).collect();
        let pool = Self { sticky, membership, states_before, script, config: config.clone(), unix };
        for member in members {
            let busy =
                member["in_flight"].as_u64().unwrap_or_else(|| u64::from(member["probe_in_flight"] == true));
            for _ in 0..busy {
                pool.keep_busy(member["route"].as_str().unwrap());
            }
        }
        Ok(pool)
    }

    /// A request that the member has, and does not answer.
    fn keep_busy(&self, route: &str) {
        *self.script.hangs.lock().unwrap() = true;
        let request =
            Request::builder().header("cookie", format!("ROUTEID={route}")).body(Full::default()).unwrap();
        let mut future = Box::pin(self.sticky.clone().call(request));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        assert_eq!(self.script.calls.lock().unwrap().pop().unwrap().0, route);
        std::mem::forget(future);
        *self.script.hangs.lock().unwrap() = false;
    }

    fn request(&self, given: &Value) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::from(given.get("body").map(body_of).unwrap_or_default()));
        *request.method_mut() = given["method"].as_str().unwrap().parse().unwrap();
        *request.uri_mut() = given["path"].as_str().unwrap().parse().unwrap();
        if let Some(cookie) = given["cookie"].as_str() {
            let cookie = self.tokens(cookie);
            let bytes = support::latin1(&Value::String(cookie));
            request.headers_mut().append(header::COOKIE, HeaderValue::from_bytes(&bytes).unwrap());
        }
        for (name, value) in given["headers"].as_object().into_iter().flatten() {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.as_str().unwrap().parse().unwrap());
        }
        if let Some(extensions) = given.get("extensions") {
            support::only_keys(extensions, &["tried_routes"]).unwrap();
            let routes = extensions["tried_routes"].as_array().unwrap().iter();
            let tried: TriedRoutes =
                routes.map(|route| Route::parse(route.as_str().unwrap()).unwrap()).collect();
            request.extensions_mut().insert(tried);
        }
        request
    }

    async fn serve(
        &self,
        given: &Value,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<BoxBody<Bytes, Failure>>, Failure> {
        let scheme = given["scheme"].as_str().unwrap_or("http");
        let peer: std::net::SocketAddr = "192.0.2.9:4711".parse().unwrap();
        let stack = ServiceBuilder::new().layer(PeerAddr::layer(peer)).layer(
            ForwardedForLayer::x_forwarded_for(TrustedProxies::none())
                .listener_scheme(Scheme::parse(scheme.as_bytes()).unwrap()),
        );
        if self.config["errors_to_502"] == true {
            let Ok(response) = stack.service(self.sticky.clone().errors_to_502()).oneshot(request).await;
            return Ok(response.map(BodyExt::boxed));
        }
        Ok(stack.service(self.sticky.clone()).oneshot(request).await?.map(BodyExt::boxed))
    }

    async fn answer(&self, route: Option<&str>) -> String {
        let mut request = Request::builder();
        if let Some(route) = route {
            request = request.header("cookie", format!("ROUTEID={route}"));
        }
        let request = request.body(Full::default()).unwrap();
        let response = self.serve(&Value::Null, request).await.unwrap();
        response.extensions().get::<Decision>().unwrap().route().unwrap().to_string()
    }

    async fn answers(&self, number: usize) -> Vec<String> {
        let mut answers = Vec::new();
        for _ in 0..number {
            answers.push(self.answer(None).await);
        }
        answers
    }

    /// Apache's table of what each member has got too little.
    fn owes(&self, table: &Value) -> Verdict {
        let status = self.membership.status();
        let seen: BTreeMap<_, _> =
            status.iter().map(|member| (member.route().as_str(), member.owed_in_hundredths())).collect();
        let table = table.as_object().unwrap().iter();
        let expected = table.map(|(route, owed)| (route.as_str(), owed.as_i64().unwrap() * 100)).collect();
        equal("lbstatus", seen, expected)
    }

    fn calls(&self) -> Vec<(String, HeaderMap)> {
        self.script.calls.lock().unwrap().clone()
    }

    fn state(&self, route: &str) -> State {
        let status = self.membership.status();
        status.iter().find(|member| member.route().as_str() == route).unwrap().state()
    }

    /// The line that is expected, with what stands for a route or a token put in.
    fn issued(&self, name: &str, expected: &str, route: &str) -> String {
        if expected == "<per picked>" {
            return format!("{name}={route}");
        }
        self.tokens(&self.dated(&expected.replace("<picked>", route).replace("<final>", route)))
    }

    /// A date that an expectation leaves open is that of the moment, if there is a limit that wants one.
    fn dated(&self, expected: &str) -> String {
        let mut expected = expected.to_owned();
        for (limit, date) in [("max_life", "first="), ("max_idle", "last=")] {
            if self.config["codec"] == "signed" && !self.config[limit].is_null() && !expected.contains(date) {
                expected = expected.replace(')', &format!(",{date}{})", self.unix));
            }
        }
        expected
    }

    /// `T(r)`, `T[k](r)` and `S(r,first=,last=)`, and what is said of them, made real.
    fn tokens(&self, text: &str) -> String {
        let mark = match self.config["codec"].as_str() {
            Some("opaque") => "=T",
            Some("signed") => "=S",
            _ => return text.to_owned(),
        };
        let keys = keys(&self.config);
        let Some((before, rest)) = text.split_once(mark) else { return text.to_owned() };
        let (key, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((key, rest)) => (key.to_owned(), rest),
            None => (keys[0].clone(), rest),
        };
        let (inner, after) = rest.strip_prefix('(').unwrap().split_once(')').unwrap();
        let (route, dates) = inner.split_once(',').unwrap_or((inner, ""));
        let date = |name: &str| {
            let date = dates.split(',').find_map(|date| date.strip_prefix(name)?.strip_prefix('='));
            date.map(|date| date.parse::<u64>().unwrap())
        };
        let token = token(&key, route, date("first"), date("last"));
        let (token, after) = match after {
            " with last bit flipped" => {
                let last = u8::from_str_radix(&token[token.len() - 1..], 16).unwrap() ^ 1;
                (format!("{}{last:x}", &token[..token.len() - 1]), "")
            }
            after if after.starts_with(" issued by ") => (token, ""),
            after => (token, after),
        };
        format!("{before}={token}{after}")
    }
}

/// What another front end with this key, and only this member, issues: at the first date to a new client, which comes
/// again at the last date.
fn token(key: &str, route: &str, first: Option<u64>, last: Option<u64>) -> String {
    let mut pin: Option<String> = None;
    let mut dates = vec![first.or(last).unwrap_or_default()];
    dates.extend(first.and(last).filter(|last| Some(*last) != first));
    for date in dates {
        let member = Member::new(route, Scripted { route: route.to_owned(), script: Arc::default() });
        let mut cookie = RouteCookie::opaque([key_of(key)]).name("T");
        if first.is_some() {
            cookie = cookie.max_life(Duration::from_secs(1_000_000));
        }
        if let Some(last) = last {
            // Not over when the client comes again, and late enough for a new date.
            let idle = first.map_or(0, |first| last - first).max(1);
            cookie = cookie.max_idle(Duration::from_secs(idle));
        }
        let sticky = StickyRoute::builder("vectors")
            .cookie(cookie)
            .member(member)
            .wall_clock(move || UNIX_EPOCH + Duration::from_secs(date))
            .build()
            .unwrap();
        let mut request = Request::new(Full::default());
        if let Some(pin) = &pin {
            request.headers_mut().insert(header::COOKIE, HeaderValue::from_str(pin).unwrap());
        }
        let response = futures_now(sticky.oneshot(request)).unwrap();
        let line = latin1_text(response.headers().get(header::SET_COOKIE).unwrap());
        pin = line.split(';').next().map(str::to_owned);
    }
    pin.unwrap().strip_prefix("T=").unwrap().to_owned()
}

/// The members of these cases never wait.
fn futures_now<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("pending"),
    }
}

fn key_of(name: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key[..name.len()].copy_from_slice(name.as_bytes());
    key
}

fn keys(config: &Value) -> Vec<String> {
    match config["keys"].as_array() {
        Some(keys) => keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect(),
        None => vec!["the one".to_owned()],
    }
}

fn cookie(config: &Value) -> Result<RouteCookie, String> {
    let name = config.get("cookie").and_then(Value::as_str).unwrap_or("ROUTEID");
    let separator = || -> Result<char, String> {
        let text = config["sep"].as_str().unwrap();
        text.parse().map_err(|_| format!("separator {text:?}: {}", "a separator is a char"))
    };
    let mut cookie = match (config["mode"].as_str(), config["codec"].as_str()) {
        (Some("suffix"), None) if config["sep"].is_null() => RouteCookie::whole_value(name),
        (Some("suffix"), None) => RouteCookie::suffix(name, separator()?),
        (Some("suffix_managed"), None) => RouteCookie::managed_suffix(name, separator()?),
        (Some("insert"), Some("plain")) | (None, None) => RouteCookie::plain().name(name),
        (Some("insert"), Some("opaque")) => {
            RouteCookie::opaque(keys(config).iter().map(|key| key_of(key))).name(name)
        }
        (Some("insert"), Some("signed")) => {
            let mut cookie = RouteCookie::opaque(keys(config).iter().map(|key| key_of(key))).name(name);
            if let Some(seconds) = config["max_idle"].as_u64() {
                cookie = cookie.max_idle(Duration::from_secs(seconds));
            }
            if let Some(seconds) = config["max_life"].as_u64() {
                cookie = cookie.max_life(Duration::from_secs(seconds));
            }
            cookie
        }
        other => return Err(format!("no cookie {other:?} yet")),
    };
    if let Some(legacy) = config.get("accept_legacy") {
        equal("accept_legacy", legacy, &serde_json::json!(["plain"]))?;
        cookie = cookie.accept_plain();
    }
    if let Some(parameter) = config["url_param"].as_str() {
        cookie = match &config["order"] {
            Value::Null => cookie.or_url_parameter(parameter),
            order => {
                equal("order", order, &serde_json::json!(["url", "cookie"]))?;
                cookie.url_parameter_or_cookie(parameter)
            }
        };
    }
    if let Some(path) = config["path"].as_str() {
        cookie = cookie.path(path);
    }
    if let Some(domain) = config["domain"].as_str() {
        cookie = cookie.domain(domain);
    }
    if let Some(same_site) = config["same_site"].as_str() {
        cookie = cookie.same_site(SameSite::parse(same_site).ok_or("same_site")?);
    }
    match config["secure"].as_str() {
        None => {}
        Some("always") => cookie = cookie.secure(Secure::Always),
        Some("never") => cookie = cookie.secure(Secure::Never),
        Some(other) => return Err(format!("secure {other}")),
    }
    if config["partitioned"] == true {
        cookie = cookie.partitioned();
    }
    match config["max_age"].as_str() {
        None => {}
        Some("1h3m") => cookie = cookie.max_age(Duration::from_secs(63 * 60)),
        Some(other) => return Err(format!("max_age {other}")),
    }
    if let Some(methods) = config["insert_on"].as_array() {
        cookie = cookie
            .insert_on(methods.iter().map(|method| method.as_str().unwrap().parse::<Method>().unwrap()));
    }
    if config["preserve_upstream"] == true {
        cookie = cookie.let_members_end_it();
    }
    Ok(cookie)
}

fn balance(given: &Value) -> Result<Balance, String> {
    let config = &given["config"];
    Ok(match (config["policy"].as_str(), config["count_sticky"].as_bool()) {
        // The first member is the first in turn.
        (None, None) if given.get("picked").is_some() => Balance::SmoothWeighted,
        (None | Some("p2c"), None) => Balance::PowerOfTwo,
        (Some("byrequests"), None | Some(false)) => Balance::SmoothWeighted,
        (Some("byrequests"), Some(true)) => Balance::ByRequests,
        (Some("bybusyness"), None) => Balance::LeastBusy,
        other => return Err(format!("no balance {other:?}")),
    })
}

fn slow_start(config: &Value) -> Result<Duration, String> {
    support::only_keys(config, &["window_s", "aggression", "min_percent"])?;
    equal("aggression", config["aggression"].as_f64().unwrap_or(1.0), 1.0)?;
    equal("min_percent", config["min_percent"].as_u64().unwrap_or(10), 10)?;
    Ok(Duration::from_secs(config["window_s"].as_u64().unwrap_or(0)))
}

fn failover(config: &Value) -> Result<Failover, String> {
    let statuses = |list: &Value| -> Vec<StatusCode> {
        let codes = list.as_array().into_iter().flatten().filter_map(Value::as_u64);
        codes.map(|code| StatusCode::from_u16(code as u16).unwrap()).collect()
    };
    let retry = Duration::from_secs(config["retry"].as_u64().unwrap_or(600));
    let mut failover = Failover::default()
        .eject_for(retry, retry)
        .retry_on_status(statuses(&config["retry_status"]))
        .eject_on_status(statuses(&config["fail_on_status"]));
    let mut cap = config["replay"].as_u64().or(config["replay_cap"].as_u64());
    if config["trust_idempotency_key"] == true {
        failover = failover.trust_idempotency_key();
        // The member reads the body of the case.
        cap = cap.or(Some(1));
    }
    if let Some(cap) = cap {
        failover = failover.replay(cap.try_into().unwrap());
    }
    match config["on_failover"].as_str() {
        None => Ok(failover),
        Some("keep") => Ok(failover.keep_pin()),
        Some(other) => Err(format!("on_failover {other}")),
    }
}

fn member(given: &Value, script: &Arc<Script>) -> Result<Member<Scripted>, String> {
    let route = given["route"].as_str().ok_or("members without a route are not there")?;
    let weight = (given["weight"].as_f64().unwrap() * 100.0).round() as u32;
    let service = Scripted { route: route.to_owned(), script: script.clone() };
    let mut member =
        Member::new(route, service).weight_in_hundredths(weight).role(match given["status"].as_str() {
            Some("standby") => Role::Standby,
            Some("spare") => Role::Spare,
            _ => Role::Active,
        });
    if let Some(tier) = given["tier"].as_u64() {
        member = member.tier(tier.try_into().unwrap());
    }
    if let Some(successor) = given["successor"].as_str() {
        member = member.successor(successor);
    }
    if given["ignore_errors"] == true {
        member = member.never_ejected();
    }
    Ok(member)
}

fn upstream_headers(upstream: &Value) -> Result<HeaderMap, String> {
    support::only_keys(upstream, &["set_cookie", "headers", "status"])?;
    let mut headers = HeaderMap::new();
    for line in upstream["set_cookie"].as_array().into_iter().flatten() {
        headers.append(header::SET_COOKIE, line.as_str().unwrap().parse().unwrap());
    }
    for (name, value) in upstream["headers"].as_object().into_iter().flatten() {
        let name: http::HeaderName = name.parse().unwrap();
        headers.append(name, value.as_str().unwrap().parse().unwrap());
    }
    Ok(headers)
}

/// What the members of a case do, and what they saw.
#[derive(Debug, Default)]
struct Script {
    results: Value,
    upstream_status: Option<u16>,
    upstream_headers: HeaderMap,
    hangs: Mutex<bool>,
    calls: Mutex<Vec<(String, HeaderMap)>>,
}

#[derive(Clone, Debug)]
struct Scripted {
    route: String,
    script: Arc<Script>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    ConnectRefused,
    RefusedStream,
    Reset,
    Body,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

fn classify(error: &dyn Any) -> Phase {
    match error.downcast_ref() {
        Some(Failure::ConnectRefused) => Phase::Connect,
        Some(Failure::RefusedStream) => Phase::NotSent,
        _ => Phase::Sent,
    }
}

type Answer = Result<Response<BoxBody<Bytes, Failure>>, Failure>;

impl Service<Request<RequestBody<Full<Bytes>>>> for Scripted {
    type Response = Response<BoxBody<Bytes, Failure>>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Full<Bytes>>>) -> Self::Future {
        let Self { route, script } = self.clone();
        script.calls.lock().unwrap().push((route.clone(), request.headers().clone()));
        let hangs = *script.hangs.lock().unwrap();
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            let result = script.results.get(&route).or(script.results.get("*")).unwrap_or(&Value::Null);
            let full = |bytes: Bytes| Full::from(bytes).map_err(|never| match never {}).boxed();
            let mut response = Response::new(full(Bytes::from(route)));
            match result {
                Value::Null => {
                    *response.headers_mut() = script.upstream_headers.clone();
                    if let Some(status) = script.upstream_status {
                        *response.status_mut() = StatusCode::from_u16(status).unwrap();
                    }
                }
                Value::Number(status) => {
                    *response.status_mut() = StatusCode::from_u16(status.as_u64().unwrap() as u16).unwrap();
                }
                Value::String(text) => match text.as_str() {
                    "connect_refused" => return Err(Failure::ConnectRefused),
                    "h2 REFUSED_STREAM" => return Err(Failure::RefusedStream),
                    "reset_after_request_sent" => {
                        // A body that is empty is never asked for a frame, as in hyper.
                        if !request.body().is_end_stream() {
                            let _ = request.into_body().collect().await;
                        }
                        return Err(Failure::Reset);
                    }
                    "echo 200" => {
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        response = Response::new(full(body));
                    }
                    "200 headers then body error" => response = Response::new(BoxBody::new(Broken)),
                    "client dropped the future while waiting" => std::future::pending().await,
                    other => panic!("attempts_result {other}"),
                },
                other => panic!("attempts_result {other}"),
            }
            Ok(response)
        })
    }
}

struct Broken;

impl Body for Broken {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        Poll::Ready(Some(Err(Failure::Body)))
    }
}

/// `"A*2048"`: as many of them.
fn body_of(text: &Value) -> Bytes {
    let text = text.as_str().unwrap();
    match text.split_once('*') {
        Some((letter, times)) => letter.repeat(times.parse().unwrap()).into(),
        None => text.to_owned().into(),
    }
}

fn latin1_text(value: &HeaderValue) -> String {
    value.as_bytes().iter().map(|byte| char::from(*byte)).collect()
}

fn count(routes: &[String]) -> BTreeMap<String, u64> {
    routes.iter().fold(BTreeMap::new(), |mut counts, route| {
        *counts.entry(route.clone()).or_default() += 1;
        counts
    })
}

fn numbers(counts: &Value) -> BTreeMap<String, u64> {
    counts
        .as_object()
        .unwrap()
        .iter()
        .map(|(route, count)| (route.clone(), count.as_u64().unwrap()))
        .collect()
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::New => "new",
        Outcome::Hit => "hit",
        Outcome::HitReissue => "hit_reissue",
        Outcome::Unknown => "unknown",
        Outcome::Expired => "expired",
        Outcome::Unusable => "unusable",
        Outcome::Repinned => "repinned",
        Outcome::Detour => "detour",
        Outcome::Absent => "absent",
        Outcome::NoRoute => "no_route",
        Outcome::OutOfScope => "out_of_scope",
        other => panic!("{other:?}"),
    }
}
