//! What comes to the admin service of a pool: operators, and those who would like to be.

#[path = "sticky_admin/desk.rs"]
mod desk;
#[path = "sticky_admin/dom.rs"]
mod dom;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, ORIGIN, VARY};
use http::{HeaderName, Method, Request, Response, StatusCode, request};
use http_body::{Body, Frame};
use serde_json::Value;
use tower::{ServiceBuilder, ServiceExt};
use tower_proxied::proxy_remote_user::DetachedUser;
use tower_proxied::sticky_route::{
    AdminChange, Member, Operator, Role, RouteCookie, State, StickyAdmin, StickyRoute,
};
use tower_proxied::{
    ForcedHostLayer, Identity, PathPrefix, PeerAddr, Proof, ProxyRemoteUserLayer, PublicUrl, Refusal,
    RefusalKind, RemoteUser, ScriptNamePrefixLayer, TrustedProxies,
};

use self::desk::{Answer, Desk, FORM, SEC_FETCH_SITE, encoded, post};
use self::dom::Dom;

#[tokio::test]
async fn operators_change_members() {
    let desk = Desk::new(&["a", "b"]);
    for (action, more, state) in [
        ("drain", "", State::Drain),
        ("disable", "", State::Disabled),
        ("stop", "", State::Stopped),
        ("enable", "", State::Ok),
        ("drain", "&minutes=", State::Drain),
        ("drain", "&minutes=30", State::Drain),
    ] {
        let token = desk.token("alice", "a", action).await;
        let answer = desk.send(post(format!("m=a&action={action}&token={token}{more}")), "alice").await;
        assert_eq!(answer.head.status, StatusCode::SEE_OTHER, "{action}");
        assert_eq!(answer.head.headers[LOCATION], "?");
        assert_eq!(answer.text, "");
        assert_eq!(desk.members.status()[0].state(), state);
        assert_eq!(answer.action().unwrap().operator().id(), "alice");
        assert_eq!(answer.action().unwrap().route().as_str(), "a");
        assert_eq!(answer.refused(), None);
    }
    assert_eq!(desk.members.status()[1].state(), State::Ok);

    let token = desk.token("alice", "b", "weight").await;
    let mut request = post(format!("m=b&action=weight&weight=2.25&token={token}"));
    request.headers_mut().insert(ACCEPT, "application/json".parse().unwrap());
    let answer = desk.send(request, "alice").await;
    assert_eq!((answer.head.status, answer.refused()), (StatusCode::OK, None));
    assert_eq!(answer.action().unwrap().change(), AdminChange::Weight { hundredths: 225 });
    assert_eq!(answer.action().unwrap().to_string(), r#"operator="alice" route=b action=weight weight=2.25"#);
    let page: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(page["members"][1]["weight"], 2.25);
    assert_eq!(page["revision"], 7);
    assert_eq!(desk.members.status()[1].weight_in_hundredths(), 225);
}

/// The state of the word goes back when the time is over: a pinned client is not served any more.
#[tokio::test(start_paused = true)]
async fn a_drain_ends_after_its_minutes() {
    let start = std::time::Instant::now();
    let paused = tokio::time::Instant::now();
    let ok = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let sticky = StickyRoute::builder("shop")
        .member(Member::new("a", ok))
        .member(Member::new("b", ok))
        .cookie(RouteCookie::plain())
        .clock(move || start + paused.elapsed())
        .build()
        .unwrap();
    let admin = StickyAdmin::new(sticky.membership(), |_| Ok(Operator::new("alice"))).unwrap();
    let request = Request::get("/").header(ACCEPT, "application/json").body(String::new()).unwrap();
    let page = Answer::of(admin.clone().oneshot(request).await.unwrap()).await;
    let page: Value = serde_json::from_str(&page.text).unwrap();
    let token = page["members"][0]["tokens"]["drain"].as_str().unwrap();
    let form = post(format!("m=a&action=drain&minutes=30&token={token}"));
    assert_eq!(admin.oneshot(form).await.unwrap().status(), StatusCode::SEE_OTHER);
    let served_by = async || {
        let request = Request::builder().header("cookie", "shop-route=a").body(String::new()).unwrap();
        let response = sticky.clone().oneshot(request).await.unwrap();
        let decision = response.extensions().get::<tower_proxied::sticky_route::Decision>().unwrap().clone();
        decision.route().unwrap().to_string()
    };
    tokio::time::advance(Duration::from_secs(30 * 60 - 1)).await;
    assert_eq!(served_by().await, "a");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(served_by().await, "b");
}

#[tokio::test]
async fn pages_and_refusals_are_kept_by_nobody_and_framed_by_nobody() {
    let desk = Desk::new(&["a"]);
    let stale = desk.token("alice", "a", "stop").await;
    desk.members.set_weight("a", 2).unwrap();
    let strange = Request::get("/").body(String::new()).unwrap();
    let stranger = Answer::of(desk.admin.clone().oneshot(strange).await.unwrap()).await;
    assert_eq!(
        (stranger.head.status, stranger.refused()),
        (StatusCode::FORBIDDEN, Some(RefusalKind::NotOperator))
    );
    assert_eq!(stranger.head.extensions.get::<Operator>(), None);
    let answers = [
        desk.page("alice", "text/html").await,
        desk.page("alice", "application/json").await,
        desk.send(post("m=a"), "alice").await,
        desk.send(post(format!("m=a&action=stop&token={stale}")), "alice").await,
        desk.send(post(format!("m=a&action=stop&token={}", desk.token("alice", "a", "stop").await)), "alice")
            .await,
    ];
    for answer in answers.iter().chain([&stranger]) {
        let headers = &answer.head.headers;
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "same-origin");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
        assert!(!headers.contains_key("access-control-allow-origin"));
        let policy = headers["content-security-policy"].to_str().unwrap();
        for directive in
            ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(directive), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
    }
    for answer in &answers {
        assert_eq!(answer.head.extensions.get::<Operator>().unwrap().id(), "alice");
    }
    assert_eq!(answers[0].head.headers[CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(answers[1].head.headers[CONTENT_TYPE], "application/json");
    assert_eq!(answers[1].head.headers[VARY], "accept");
}

/// Each is one step away from a request that is good, and changes nothing.
#[tokio::test]
async fn forged_forms_change_nothing() {
    let desk = Desk::new(&["a", "b"]);
    let before = desk.state();
    let token = desk.token("alice", "a", "drain").await;
    let good = format!("m=a&action=drain&token={token}");
    let of_other = |who| desk.token(who, "a", "drain");
    let of_another_process = Desk::new(&["a", "b"]).token("alice", "a", "drain").await;
    use RefusalKind::*;
    let bodies = [
        ("no token", "m=a&action=drain".to_owned(), FormTokenInvalid),
        ("empty token", "m=a&action=drain&token=".to_owned(), FormTokenInvalid),
        ("another member's", format!("m=b&action=drain&token={token}"), FormTokenInvalid),
        ("another action's", format!("m=a&action=stop&token={token}"), FormTokenInvalid),
        ("another operator's", format!("m=a&action=drain&token={}", of_other("bob").await), FormTokenInvalid),
        (
            "an operator's of a like name",
            format!("m=a&action=drain&token={}", of_other("alice\0").await),
            FormTokenInvalid,
        ),
        ("another process's", format!("m=a&action=drain&token={of_another_process}"), FormTokenInvalid),
        ("a later revision", good.replace("token=0.", "token=1."), FormTokenInvalid),
        (
            "upper case",
            format!("m=a&action=drain&token={}", token.to_uppercase().replace("0.", "0.A")),
            FormTokenInvalid,
        ),
        ("cut", good[..good.len() - 2].to_owned(), FormTokenInvalid),
        ("no member", good.replace("m=a", "m=c"), MemberUnknown),
        ("a member of another case", good.replace("m=a", "m=A"), MemberUnknown),
        ("a member with a blank", good.replace("m=a", "m=a+"), MemberUnknown),
        ("member twice", format!("{good}&m=a"), FormMalformed),
        ("action twice", format!("action=drain&{good}"), FormMalformed),
        ("token twice", format!("{good}&token={token}"), FormMalformed),
        ("unknown action", good.replace("drain", "remove"), FormMalformed),
        ("an address", format!("{good}&url=http://evil.example"), FormMalformed),
        ("another method", format!("{good}&_method=DELETE"), FormMalformed),
        ("a weight to a drain", format!("{good}&weight=1"), FormMalformed),
        ("minutes that are none", format!("{good}&minutes=-1"), FormMalformed),
        ("nothing", String::new(), FormMalformed),
        ("JSON", format!(r#"{{"m":"a","action":"drain","token":"{token}"}}"#), FormMalformed),
        (
            "4097 bytes",
            format!("{good}&minutes={}", "0".repeat(4097 - good.len() - "&minutes=".len())),
            BodyTooLarge,
        ),
    ];
    for (what, body, kind) in bodies {
        let answer = desk.send(post(body), "alice").await;
        assert_eq!(answer.refused(), Some(kind), "{what}");
        assert_eq!(answer.head.status, Refusal::from(kind).status());
        assert!(answer.action().is_none());
        assert_eq!(desk.state(), before, "{what}");
    }

    type Edit = fn(&mut request::Parts);
    let edits: [(&str, Edit, RefusalKind); 20] = [
        ("neither origin nor site", |parts| drop(parts.headers.remove(SEC_FETCH_SITE)), CrossSite),
        ("another site", |parts| set(parts, SEC_FETCH_SITE, "cross-site"), CrossSite),
        ("another host of the site", |parts| set(parts, SEC_FETCH_SITE, "same-site"), CrossSite),
        ("by hand", |parts| set(parts, SEC_FETCH_SITE, "none"), CrossSite),
        (
            "another site with our origin",
            |parts| {
                set(parts, SEC_FETCH_SITE, "cross-site");
                set(parts, http::header::HOST, "front.example");
                set(parts, ORIGIN, "http://front.example");
            },
            CrossSite,
        ),
        ("an origin of nobody", |parts| origin(parts, "null"), CrossSite),
        ("another origin", |parts| origin(parts, "http://evil.example"), CrossSite),
        ("another port", |parts| origin(parts, "http://front.example:81"), CrossSite),
        ("another scheme", |parts| origin(parts, "https://front.example"), CrossSite),
        ("another scheme at our port", |parts| origin(parts, "https://front.example:80"), CrossSite),
        (
            "a referrer alone",
            |parts| {
                parts.headers.remove(SEC_FETCH_SITE);
                set(parts, http::header::HOST, "front.example");
                set(parts, http::header::REFERER, "http://front.example/");
            },
            CrossSite,
        ),
        ("no type", |parts| drop(parts.headers.remove(CONTENT_TYPE)), MediaTypeUnsupported),
        ("plain text", |parts| set(parts, CONTENT_TYPE, "text/plain"), MediaTypeUnsupported),
        (
            "several parts",
            |parts| set(parts, CONTENT_TYPE, "multipart/form-data; boundary=a"),
            MediaTypeUnsupported,
        ),
        ("JSON", |parts| set(parts, CONTENT_TYPE, "application/json"), MediaTypeUnsupported),
        ("gRPC", |parts| set(parts, CONTENT_TYPE, "application/grpc"), MediaTypeUnsupported),
        (
            "two types",
            |parts| assert!(parts.headers.append(CONTENT_TYPE, FORM.parse().unwrap())),
            MediaTypeUnsupported,
        ),
        ("packed", |parts| set(parts, http::header::CONTENT_ENCODING, "gzip"), MediaTypeUnsupported),
        ("said to be long", |parts| set(parts, CONTENT_LENGTH, "4097"), BodyTooLarge),
        ("PUT", |parts| parts.method = Method::PUT, MethodNotAllowed),
    ];
    for (what, edit, kind) in edits {
        let (mut parts, body) = post(&*good).into_parts();
        edit(&mut parts);
        let answer = desk.send(Request::from_parts(parts, body), "alice").await;
        assert_eq!(answer.refused(), Some(kind), "{what}");
        assert_eq!(desk.state(), before, "{what}");
    }
    assert_eq!(desk.send(post(&*good), "bob").await.refused(), Some(FormTokenInvalid), "by another operator");

    let mut from_our_origin = post(&*good).into_parts();
    origin(&mut from_our_origin.0, "http://front.example");
    let answer = desk.send(Request::from_parts(from_our_origin.0, from_our_origin.1), "alice").await;
    assert_eq!(answer.head.status, StatusCode::SEE_OTHER, "the good one is good");
    assert_eq!(desk.send(post(&*good), "alice").await.refused(), Some(FormStale), "once");
}

fn set(parts: &mut request::Parts, name: HeaderName, value: &'static str) {
    parts.headers.insert(name, value.parse().unwrap());
}

fn origin(parts: &mut request::Parts, origin: &'static str) {
    parts.headers.remove(SEC_FETCH_SITE);
    set(parts, http::header::HOST, "front.example");
    set(parts, ORIGIN, origin);
}

#[tokio::test]
async fn only_post_changes_anything() {
    let desk = Desk::new(&["a"]);
    let before = desk.state();
    let query = format!("m=a&action=drain&token={}", desk.token("alice", "a", "drain").await);
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "post", "PROPFIND"]
    {
        for uri in
            [format!("/?{query}"), format!("/drain?{query}"), "/..%2f".to_owned(), format!("/a;{query}")]
        {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .header(SEC_FETCH_SITE, "same-origin")
                .header(CONTENT_TYPE, FORM)
                .header("x-http-method-override", "POST")
                .header("x-method-override", "POST")
                .body(query.clone())
                .unwrap();
            let answer = desk.send(request, "alice").await;
            if matches!(method, "GET" | "HEAD") {
                assert_eq!((answer.head.status, answer.refused()), (StatusCode::OK, None));
                assert_eq!(answer.text.is_empty(), method == "HEAD");
                let length: usize = answer.head.headers[CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
                assert!(method == "HEAD" && length > 500 || length == answer.text.len());
            } else {
                assert_eq!(answer.refused(), Some(RefusalKind::MethodNotAllowed), "{method}");
                assert_eq!(answer.head.status, StatusCode::METHOD_NOT_ALLOWED);
                assert_eq!(answer.head.headers[ALLOW], "GET, HEAD, POST");
            }
            assert_eq!(desk.state(), before, "{method}");
        }
    }
}

#[tokio::test]
async fn what_anybody_changed_meanwhile_is_told() {
    let desk = Desk::of([Member::new("a", ()), Member::new("b", ()).max_in_flight(9)]);
    let members = &desk.members;
    let changes: [(&str, &dyn Fn()); 7] = [
        ("weight", &|| members.set_weight("b", 3).unwrap()),
        ("state", &|| members.set_state("b", State::Drain).unwrap()),
        ("the same state again", &|| members.set_state("b", State::Drain).unwrap()),
        ("drain", &|| drop(members.drain("b", Duration::from_secs(9)).unwrap())),
        ("insert", &|| members.insert(Member::new("c", ())).unwrap()),
        ("remove", &|| members.remove("c").unwrap()),
        ("successor", &|| members.set_successor("a", "b").unwrap()),
    ];
    for (what, change) in changes {
        let form = format!("m=a&action=stop&token={}", desk.token("alice", "a", "stop").await);
        change();
        let answer = desk.send(post(form), "alice").await;
        assert_eq!(
            (answer.refused(), answer.head.status),
            (Some(RefusalKind::FormStale), StatusCode::CONFLICT),
            "{what}"
        );
        assert_eq!(members.status()[0].state(), State::Ok);
    }
    let form = format!("m=b&action=stop&token={}", desk.token("alice", "b", "stop").await);
    members.remove("b").unwrap();
    assert_eq!(desk.send(post(form), "alice").await.refused(), Some(RefusalKind::MemberUnknown));
    let form = format!("m=a&action=stop&token={}", desk.token("alice", "a", "stop").await);
    assert!(members.set_state("nope", State::Ok).is_err() && members.remove("nope").is_err());
    assert_eq!(
        desk.send(post(form), "alice").await.head.status,
        StatusCode::SEE_OTHER,
        "nothing was changed"
    );
}

/// What requests find out is no other operator's doing: a pool that flaps can still be mended.
#[tokio::test]
async fn ejections_make_no_form_stale() {
    let fails = tower::service_fn(|_| async { Err::<Response<String>, _>("down") });
    let sticky = StickyRoute::builder("shop")
        .member(Member::new("a", fails))
        .member(Member::new("b", fails))
        .cookie(RouteCookie::plain())
        .classify(|_| tower_proxied::sticky_route::Phase::Connect)
        .build()
        .unwrap();
    let admin = StickyAdmin::new(sticky.membership(), |_| Ok(Operator::new("alice"))).unwrap();
    let page = async || {
        let request = Request::get("/").header(ACCEPT, "application/json").body(String::new()).unwrap();
        let page = Answer::of(admin.clone().oneshot(request).await.unwrap()).await;
        serde_json::from_str::<Value>(&page.text).unwrap()
    };
    let before = page().await;
    for _ in 0..9 {
        let _ = sticky.clone().oneshot(Request::new(String::new())).await;
    }
    let after = page().await;
    let ejected = after["members"].as_array().unwrap().iter().filter(|member| member["state"] == "ejected");
    let waits: Vec<u64> = ejected.map(|member| member["retry_in_ms"].as_u64().unwrap()).collect();
    assert!(!waits.is_empty(), "{after}");
    assert_eq!(before["revision"], after["revision"]);
    let token = before["members"][0]["tokens"]["enable"].as_str().unwrap();
    let form = post(format!("m=a&action=enable&token={token}"));
    assert_eq!(admin.clone().oneshot(form).await.unwrap().status(), StatusCode::SEE_OTHER);
}

/// Of as many forms of one page as there are threads one is taken.
#[test]
fn check_and_change_are_one_step() {
    let desk = Desk::new(&["a", "b"]);
    let now = |future: Pin<&mut dyn Future<Output = Answer>>| {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("pending"),
        }
    };
    for _ in 0..200 {
        let mut forms = Vec::new();
        for (who, route) in [("alice", "a"), ("alice", "b"), ("bob", "a"), ("bob", "b")] {
            let page = now(std::pin::pin!(desk.page(who, "application/json")));
            let page: Value = serde_json::from_str(&page.text).unwrap();
            let at = usize::from(route == "b");
            let token = page["members"][at]["tokens"]["disable"].as_str().unwrap().to_owned();
            forms.push((who, format!("m={route}&action=disable&token={token}")));
        }
        let start = std::sync::Barrier::new(forms.len());
        let taken = std::thread::scope(|scope| {
            let threads: Vec<_> = forms
                .into_iter()
                .map(|(who, form)| {
                    let (desk, start) = (&desk, &start);
                    scope.spawn(move || {
                        start.wait();
                        now(std::pin::pin!(desk.send(post(form), who))).head.status
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|status| *status == 303).count()
        });
        assert_eq!(taken, 1);
        for route in ["a", "b"] {
            desk.members.set_state(route, State::Ok).unwrap();
        }
    }
}

/// A body in chunks, which fails at its end if told so.
struct Chunks(Vec<Bytes>, bool);

impl Body for Chunks {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if self.0.is_empty() {
            return Poll::Ready(std::mem::take(&mut self.1).then_some(Err("broken")));
        }
        let chunk = self.0.remove(0);
        if chunk.is_empty() {
            // An empty one stands for a wait.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

#[tokio::test]
async fn bodies_come_in_pieces() {
    let desk = Desk::new(&["a"]);
    let before = desk.state();
    let token = desk.token("alice", "a", "drain").await;
    let good = format!("m=a&action=drain&token={token}&minutes=");
    let send = async |chunks: Vec<Bytes>, breaks: bool| {
        let request = post("").map(|_| Chunks(chunks, breaks));
        desk.send(request, "alice").await
    };
    let pieces = |text: &str, size: usize| {
        text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect::<Vec<_>>()
    };
    let long = |length: usize| format!("{good}{}", "0".repeat(length - good.len()));
    for size in [1, 1000, 4096, 4097] {
        let answer = send(pieces(&long(4097), size), false).await;
        assert_eq!(answer.refused(), Some(RefusalKind::BodyTooLarge), "{size}");
        assert_eq!(desk.state(), before);
    }
    // It ends at the first byte too many: what comes then is not read.
    let mut endless = pieces(&long(4096), 100);
    endless.extend(std::iter::repeat_n(Bytes::from_static(b"0"), 2));
    assert_eq!(send(endless, true).await.refused(), Some(RefusalKind::BodyTooLarge));
    assert_eq!(
        send(pieces(&good, 7), true).await.refused(),
        Some(RefusalKind::FormMalformed),
        "broken at its end"
    );
    assert_eq!(desk.state(), before);
    let mut slow = pieces(&long(4096), 13);
    slow.insert(2, Bytes::new());
    assert_eq!(send(slow, false).await.head.status, StatusCode::SEE_OTHER, "4096 bytes are not too many");
}

#[tokio::test]
async fn the_page_shows_what_there_is() {
    let members = [
        Member::new("a", ()).weight_in_hundredths(225).successor("b").max_in_flight(7),
        Member::new("b", ()).role(Role::Standby).tier(3),
    ];
    let desk = Desk::of(members);
    desk.members.set_state("b", State::Ejected).unwrap();
    let page = desk.json("alice").await;
    assert_eq!(page["revision"], 1);
    let a = &page["members"][0];
    let told =
        [&a["route"], &a["state"], &a["weight"], &a["role"], &a["tier"], &a["successor"], &a["in_flight"]];
    assert_eq!(told.map(Value::to_string), [r#""a""#, r#""ok""#, "2.25", r#""active""#, "0", r#""b""#, "0"]);
    assert_eq!((a["max_in_flight"].as_u64(), &a["retry_in_ms"]), (Some(7), &Value::Null));
    let b = &page["members"][1];
    assert_eq!((&b["state"], &b["role"], &b["tier"]), (&"ejected".into(), &"standby".into(), &3.into()));
    assert!(b["retry_in_ms"].as_u64().is_some_and(|wait| wait > 0));
    let html = Dom::of(&desk.page("alice", "*/*").await.text);
    assert_eq!(html.cells[0], ["a", "ok", "2.25", "active", "0", "b", "0 of 7"]);
    assert_eq!(html.cells[1][2..], ["1", "standby", "3", "-", "0"]);
    assert!(html.cells[1][1].starts_with("ejected, tried again in "), "{:?}", html.cells[1]);
}

/// axum takes `/balancer` off, and the proxy in front knows the application as `/webapps`.
#[tokio::test]
async fn it_works_where_it_is_mounted() {
    let members = StickyRoute::builder("shop")
        .member(Member::new("a", ()))
        .cookie(RouteCookie::plain())
        .build()
        .unwrap()
        .membership();
    let admin = StickyAdmin::new(members.clone(), Operator::in_group("ops")).unwrap();
    let router = Router::new().nest_service("/balancer", admin);
    let stack = ServiceBuilder::new()
        .layer(PeerAddr::layer(PeerAddr::Tcp(([127, 0, 0, 1], 4711).into())))
        .layer(ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::loopback())).build().unwrap())
        .layer(ForcedHostLayer::fixed(PublicUrl::from_static("https://www.example.org")))
        .layer(ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps")))
        .service(router);
    let send = async |method: &str, groups: &str, origin: &str, body: String| {
        let request = Request::builder()
            .method(method)
            .uri("/webapps/balancer")
            .header("host", "127.0.0.1:8000")
            .header("remote-user", "alice")
            .header("remote-groups", groups)
            .header(ORIGIN, origin)
            .header(CONTENT_TYPE, FORM);
        let request = request.body(axum::body::Body::from(body)).unwrap();
        Answer::of(stack.clone().oneshot(request).await.unwrap()).await
    };
    const OWN: &str = "https://www.example.org";
    let page = send("GET", "ops", OWN, String::new()).await;
    let html = Dom::of(&page.text);
    let form = html.forms.iter().find(|form| form.contains(&("action".into(), "stop".into()))).unwrap();
    let pairs: Vec<(&str, &str)> = form.iter().map(|(name, value)| (&**name, &**value)).collect();
    let body = encoded(&pairs);
    assert_eq!(send("POST", "dev", OWN, body.clone()).await.refused(), Some(RefusalKind::NotInGroup));
    let inner_origin = send("POST", "ops", "http://127.0.0.1:8000", body.clone()).await;
    assert_eq!(inner_origin.refused(), Some(RefusalKind::CrossSite));
    assert_eq!(members.status()[0].state(), State::Ok);
    let done = send("POST", "ops", OWN, body).await;
    assert_eq!(
        (done.head.status, &done.head.headers[LOCATION]),
        (StatusCode::SEE_OTHER, &"?".parse().unwrap())
    );
    assert_eq!(members.status()[0].state(), State::Stopped);
    let here = url::Url::parse("https://www.example.org/webapps/balancer").unwrap();
    assert_eq!(here.join("?").unwrap().path(), "/webapps/balancer");
}

#[tokio::test]
async fn a_user_of_the_proxy_is_the_operator() {
    let members = Desk::new(&["a"]).members;
    let admin = StickyAdmin::new(members, Operator::named(["alice"])).unwrap();
    let send = async |identity: Option<Identity>| {
        let mut request = Request::get("/").body(String::new()).unwrap();
        request.extensions_mut().extend(
            identity
                .map(|identity| {
                    let mut extensions = http::Extensions::new();
                    extensions.insert(identity);
                    extensions
                })
                .unwrap_or_default(),
        );
        Answer::of(admin.clone().oneshot(request).await.unwrap()).await
    };
    let user = |name: &str| Some(Identity::User(RemoteUser::for_test(DetachedUser::new(name))));
    assert_eq!(send(user("alice")).await.head.status, StatusCode::OK);
    assert_eq!(send(user("mallory")).await.head.status, StatusCode::FORBIDDEN);
    assert_eq!(send(None).await.head.status, StatusCode::INTERNAL_SERVER_ERROR);
}
