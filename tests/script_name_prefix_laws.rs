//! What must hold of ScriptNamePrefix for all inputs: 1,024 of them each time, 100,000 with `--ignored`.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::Body;
use axum::extract::MatchedPath;
use axum::routing::get;
use http::uri::{Parts, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tower::Service;
use tower_proxied::PathPrefix;
use tower_proxied::wire::path::strip_prefix;
use url::Url;

use self::prefix::{HOST, Site, exchange, holds, naive_below, sites, stays_in_the_mount};

#[macro_use]
#[path = "common/laws.rs"]
mod laws;
#[path = "../fuzz/checks/prefix.rs"]
mod prefix;

laws! {
    /// Judged as a browser follows them, unless the application named another host. Rewriting them twice is rewriting
    /// them once.
    fn redirects_stay_below_the_prefix(
        site in site(), target in target(), references in vec(reference(), 1..4),
    ) {
        let lines = references.iter().enumerate().flat_map(|(at, reference)| {
            [
                (if at == 0 { "location" } else { "content-location" }, reference.clone()),
                ("hx-redirect", reference.clone()),
                ("refresh", format!("{at}; url={reference}")),
                ("link", format!("<{reference}>; rel=next; anchor=\"{reference}\", <{reference}>")),
            ]
        });
        let answered = headers(lines);
        prop_assume!(!answered.is_empty());
        super::holds(&site, &target, &answered);
    }

    fn cookies_are_byte_exact_outside_of_the_value_of_path(
        site in site(), target in target(), cookies in vec(cookie_bytes(), 1..4),
    ) {
        super::holds(&site, &target, &headers(cookies.into_iter().map(|cookie| ("set-cookie", cookie))));
    }

    /// The `cookie` crate reads well-formed ones.
    fn well_formed_cookies_read_the_same_but_for_their_path(
        site in site(), target in target(), well_formed in well_formed_cookie(),
    ) {
        let seen = exchange(&site, &target, &headers([("set-cookie", well_formed.clone())]));
        prop_assume!(seen.inner.is_some());
        let after = std::str::from_utf8(seen.headers["set-cookie"].as_bytes()).unwrap();
        let before = cookie::Cookie::parse(&*well_formed).unwrap();
        let mut read = cookie::Cookie::parse(after).unwrap().into_owned();
        let path = read.path().map(str::to_owned);
        if before.name().starts_with("__Host-") {
            prop_assert_eq!(after, &well_formed);
        } else if let Some(path) = path.filter(|path| path.starts_with('/')) {
            prop_assert!(naive_below(&path, site.public).is_some(), "{} {}", well_formed, after);
        }
        match before.path() {
            Some(path) => read.set_path(path.to_owned()),
            None => read.unset_path(),
        }
        prop_assert_eq!(read, before);
    }

    /// Public path, inner path and the public path that is told: byte for byte, in each mode.
    fn paths_are_there_and_back_again_byte_for_byte(site in site(), target in target()) {
        super::holds(&site, &target, &HeaderMap::new());
        let seen = exchange(&site, &target, &HeaderMap::new());
        let is_kept = site.public == site.received && !site.is_either;
        if let (Some((inner, Some(script_name))), true) = (seen.inner, is_kept) {
            prop_assert_eq!(target.path_and_query().map(PathAndQuery::as_str), Some(&*script_name.public_path()));
            let inner = inner.path_and_query().unwrap().as_str();
            prop_assert!(target.path_and_query().unwrap().as_str().ends_with(&inner[1..]));
        }
    }

    fn segments_match_as_naively(path in "(a|%61|b|ab|app|%2[bBfF]|%c3%A9|%|;|/|/){0,8}", prefix in "(/(a|b|ab|app|%2[bB]|%C3%a9)){0,3}") {
        let (path, prefix) = (format!("/{path}"), PathPrefix::parse(&prefix).unwrap());
        let below = strip_prefix(path.as_bytes(), &prefix);
        prop_assert_eq!(below, naive_below(&path, prefix.as_str()).map(str::as_bytes));
    }

    /// Whatever server stands before or behind, and however it normalises the path, the request is one of this mount.
    fn no_spelling_reaches_another_mount(target in target()) {
        let site = &sites()[0];
        let seen = exchange(site, &target, &HeaderMap::new());
        let Some((inner, _)) = seen.inner else { return Ok(()) };
        stays_in_the_mount(inner.path());
        let decoded = decode_unreserved(target.path());
        for spelled in [
            decoded.clone(),
            decoded.replace('\\', "/"),
            format!("/{}", decoded.split(['/', '\\']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")),
        ] {
            let normal = Url::parse(&format!("https://{HOST}{spelled}")).unwrap();
            let mount = matched_mount(normal.path());
            prop_assert!(mount.as_deref().is_some_and(|path| path.starts_with("/app")), "{} is of {:?}", target, mount);
        }
    }

    fn nothing_panics(
        site in site(),
        target in vec(any::<u8>(), 0..48),
        value in vec(any::<u8>(), 0..48),
        name in select(FIELDS),
    ) {
        let mut answered = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            answered.insert(name, value);
        }
        let targets = [Uri::try_from(&target[..]), Uri::try_from([b"/app/", &target[..]].concat())];
        for target in targets.into_iter().flatten() {
            super::holds(&site, &target, &answered);
        }
    }
}

const FIELDS: &[&str] =
    &["location", "content-location", "refresh", "link", "set-cookie", "hx-redirect", "x-other"];

fn site() -> impl Strategy<Value = Site> {
    (select(sites()), any::<bool>()).prop_map(|(site, always)| if always { site.always() } else { site })
}

fn nasty_path() -> impl Strategy<Value = String> {
    "(/(app|%61pp|ap%70|App|a|b|ab|django|other|\\.\\.|%2e%2E|\\.%2e|\\.|\\.\\.;x|%2f|%5c|%c3%A9|%|%7)?|\\\\|\\\\\\.\\.|//|;){0,8}"
}

fn target() -> impl Strategy<Value = Uri> {
    let start = select(vec!["/app", "/app", "/app/", "/%61pp/", "/a/b", "/a/%62/", "/django", "/", "/appx"]);
    let query = select(vec!["", "", "?", "?q=/../a"]);
    let path = (start, nasty_path(), query).prop_map(|(start, path, query)| format!("{start}{path}{query}"));
    // `//a/b` is a path in a request's first line.
    path.prop_filter_map("no path", |path| {
        let mut parts = Parts::default();
        parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
        Uri::from_parts(parts).ok()
    })
}

fn reference() -> impl Strategy<Value = String> {
    let start = select(vec![
        "",
        "/",
        "/app",
        "/app/",
        "/a/b",
        "/django",
        "./",
        "../",
        "..",
        "\\",
        "\\\\",
        "//",
        "///",
        "/\\",
        "/\t/",
        "/\t\\",
        "\t/",
        "?q",
        "#f",
        "https:",
        "https:/",
        "https:\\",
        "http:/",
        "https://example.com",
        "https://example.com/",
        "HTTPS://EXAMPLE.com:443/",
        "//example.com/app/../",
        "https://example.com\\",
        "https://user@example.com/",
        "https://example.com:8443/",
        "http://example.com/",
        "https://evil.example/",
        "//evil.example/",
        "https://example.com@evil.example/",
        "https://example.com.evil.example/",
        "http://http-1:8000",
        "http://http-1:8000/",
        "//http-1:8000/../",
        "https://http-1:8000/",
        "http://http-1:8001/",
        "javascript:alert(1)",
        "mailto:a@b",
        "1:a",
        "ht\ttps://evil.example/",
    ]);
    let rest = "(/|\\\\|\\.|\\.\\.|/\\.\\./|%2e|%2E|%2f|app|a|evil\\.example|\t|:|;|@|\\?|#|~|\u{e9}){0,8}";
    (start, rest).prop_map(|(start, rest)| format!("{start}{rest}"))
}

fn cookie_bytes() -> impl Strategy<Value = String> {
    "(a|__Host-a|__host-a|__Secure-a|Path|)?(=| =)?(1|\"/x\"|path=/|é)?((;|; | ;|;\t)(Path|path|PATH|pAth| Path |Paths|Domain|Secure|Priority)?(=| = |=\t|)(/|/app|/app/|/appx|/a/b|/django/x|//x|\"/x\"|x|/x/\\.\\./|Lax|/é|))*"
}

/// As the crate writes it, so that it reads back.
fn well_formed_cookie() -> impl Strategy<Value = String> {
    let name = select(vec!["a", "__Host-a", "__Secure-a", "path"]);
    let path = select(vec!["", "/", "/x", "/app", "/app/x", "/appx", "/django", "/a/b/c", "//x", "/x/../y"]);
    let attributes = select(vec![
        "",
        "; HttpOnly; Secure",
        "; SameSite=Lax; Max-Age=0",
        "; Domain=example.com; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
        "; Partitioned; Secure",
    ]);
    (name, "[a-z/;=]{0,4}", path, attributes, any::<bool>()).prop_map(
        |(name, value, path, attributes, first)| {
            let value = value.replace(';', "");
            let path = if path.is_empty() { String::new() } else { format!("; Path={path}") };
            if first {
                format!("{name}={value}{path}{attributes}")
            } else {
                format!("{name}={value}{attributes}{path}")
            }
        },
    )
}

fn headers(lines: impl IntoIterator<Item = (&'static str, String)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers
}

/// What every reader of URIs may do (RFC 3986, section 6.2.2.2).
fn decode_unreserved(path: &str) -> String {
    let mut decoded = path.to_owned();
    for byte in (0x21..0x7f_u8).filter(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) {
        for triplet in [format!("%{byte:02X}"), format!("%{byte:02x}")] {
            decoded = decoded.replace(&triplet, &char::from(byte).to_string());
        }
    }
    decoded
}

/// Which of its mounts an axum router serves a path with.
fn matched_mount(path: &str) -> Option<String> {
    let shown =
        get(async |path: Option<MatchedPath>| path.map_or(String::new(), |path| path.as_str().into()));
    let mut router = Router::new();
    for mount in ["/app", "/app/", "/app/{*rest}", "/other", "/other/{*rest}", "/", "/{*rest}"] {
        router = router.route(mount, shown.clone());
    }
    let request = Request::get(path).body(Body::empty()).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = pin!(router.call(request)).poll(&mut context) else {
        panic!("nothing here waits")
    };
    let mut body = pin!(axum::body::to_bytes(response.into_body(), 1024));
    let Poll::Ready(Ok(body)) = body.as_mut().poll(&mut context) else { panic!("nothing here waits") };
    Some(String::from_utf8(body.to_vec()).unwrap()).filter(|path| !path.is_empty())
}
