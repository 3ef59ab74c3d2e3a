use http::{HeaderName, Request, request};
use proptest::prelude::*;

use super::*;
use crate::script_name_prefix::{InternalAuthorities, Mounts, ResponseRewrite, ScriptNamePrefixLayer};
use crate::shell::Unit;

const FIELDS: &[&str] = &["location", "content-location", "refresh", "link", "set-cookie"];

fn keeps() -> ScriptNamePrefixLayer {
    ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/app"))
}

fn maps(public: &'static str) -> ScriptNamePrefixLayer {
    let public = PathPrefix::from_static(public);
    ScriptNamePrefixLayer::proxy_maps(Mounts { public, received: PathPrefix::from_static("/django") })
}

fn parts(target: &str) -> request::Parts {
    Request::get(target).body(()).unwrap().into_parts().0
}

/// One pass of a field through the layer, for a request with these parts.
fn settle(layer: &ScriptNamePrefixLayer, mut parts: request::Parts, name: &str, value: &[u8]) -> Vec<u8> {
    let owed = layer.config.as_ref().unwrap().on_request(&mut parts).unwrap();
    let response = Response::builder().header(name, value).body(()).unwrap();
    owed.settle(response).headers()[name].as_bytes().to_vec()
}

fn rewritten(layer: &ScriptNamePrefixLayer, target: &str, name: &str, value: &str) -> String {
    String::from_utf8(settle(layer, parts(target), name, value.as_bytes())).unwrap()
}

#[test]
fn climbing_redirects_stay_below() {
    for (location, expected) in [
        ("/../../etc?q#f", "/app/etc?q#f"),
        ("/..", "/app/"),
        ("/a/%2E%2e/../b", "/app/b"),
        ("/app/../y", "/app/app/../y"),
        ("/app/../../y", "/app/y"),
        ("/..\\x", "/app/x"),
        ("/.\t./x", "/app/x"),
    ] {
        assert_eq!(rewritten(&keeps(), "/app/x", "location", location), expected, "{location}");
    }
}

#[test]
fn relative_references() {
    for (target, location, expected) in [
        ("/app/x", "", ""),
        ("/app/x", "?page=2", "?page=2"),
        ("/app/x", "#top", "#top"),
        ("/app/a/b", "../c?d", "../c?d"),
        ("/app/a/b", "../../c?d", "/app/c?d"),
        ("/app/a/b", "..\\..\\c", "/app/c"),
        ("/app", "a", "/app/a"),
        ("/app", "./?x", "/app/?x"),
        ("/app?x", "?y", "?y"),
        ("/%61pp/x", "a", "a"),
        ("/app//x", "a", "a"),
        ("/app/x", "1:a", "1:a"),
        ("/app", "1:a", "/app/1:a"),
        ("/app", "a:b", "a:b"),
        ("/app", "ht\ttps://evil.example/", "ht\ttps://evil.example/"),
        ("/app/x", "\\y", "/app/y"),
        ("/app/x", "\\\t\\evil.example", "\\\t\\evil.example"),
        ("/app/a/..", "../c", "/app/c"),
        ("/app/x", "https:/y", "https:/y"),
        ("/app/x", "\\\\evil.example", "\\\\evil.example"),
    ] {
        assert_eq!(rewritten(&keeps(), target, "location", location), expected, "{target} {location}");
    }
}

#[test]
fn own_urls() {
    let internal = InternalAuthorities::from_static(&["127.0.0.1:8081", "http-1", "[::1]:8000"]);
    let layer = keeps().internal_authorities(internal);
    let url = |text: &[u8]| PublicUrl::new(Scheme::Https, HostPort::parse(text).unwrap(), PathPrefix::root());
    for (location, without_url, with_url) in [
        ("http://127.0.0.1:8081/x?q", "http://127.0.0.1:8081/app/x?q", "https://example.com/app/x?q"),
        ("http://127.0.0.1:8081/app/x", "http://127.0.0.1:8081/app/x", "https://example.com/app/x"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081/app/", "https://example.com/app/"),
        ("//127.0.0.1:8081/x", "//127.0.0.1:8081/app/x", "https://example.com/app/x"),
        ("http://127.0.0.1:8082/x", "http://127.0.0.1:8082/x", "http://127.0.0.1:8082/x"),
        (
            "http://127.0.0.1:8081.evil.org/x",
            "http://127.0.0.1:8081.evil.org/x",
            "http://127.0.0.1:8081.evil.org/x",
        ),
        ("http://HTTP-1:80/x", "http://HTTP-1:80/app/x", "https://example.com/app/x"),
        ("https://http-1:80/x", "https://http-1:80/x", "https://http-1:80/x"),
        ("http://[0:0::1]:8000/x", "http://[0:0::1]:8000/app/x", "https://example.com/app/x"),
        ("https://example.com/x", "https://example.com/x", "https://example.com/app/x"),
        ("https://Example.com:443?q", "https://Example.com:443?q", "https://Example.com:443/app/?q"),
        ("//example.com/x", "//example.com/x", "//example.com/app/x"),
        ("https://a@example.com/x", "https://a@example.com/x", "https://a@example.com/x"),
        (
            "https://example.com\\@evil.org/x",
            "https://example.com\\@evil.org/x",
            "https://example.com\\@evil.org/x",
        ),
        ("wss://example.com/x", "wss://example.com/x", "wss://example.com/x"),
        ("///x", "///x", "///x"),
        ("https:/x", "https:/x", "/app/x"),
        ("https:\t/x", "https:\t/x", "/app/x"),
        ("https:../x", "https:../x", "/app/x"),
        ("https:x", "https:x", "https:x"),
        ("https:a:/../../x", "https:a:/../../x", "/app/x"),
        ("http:/x", "http:/x", "http:/x"),
        ("https:\\\\evil.org", "https:\\\\evil.org", "https:\\\\evil.org"),
        ("mailto:a@example.com", "mailto:a@example.com", "mailto:a@example.com"),
    ] {
        assert_eq!(rewritten(&layer, "/app/x", "location", location), without_url, "{location}");
        let mut parts = parts("/app/x");
        parts.extensions.insert(url(b"example.com"));
        let seen = settle(&layer, parts, "location", location.as_bytes());
        assert_eq!(String::from_utf8(seen).unwrap(), with_url, "{location}");
    }
}

#[test]
fn fields_in_their_own_grammar() {
    for (name, value, expected) in [
        ("content-location", " /x ", " /app/x "),
        ("refresh", "3; url=/x", "3; url=/app/x"),
        ("refresh", "0;URL='/x' ", "0;URL='/app/x' "),
        ("refresh", "3", "3"),
        (
            "link",
            "</a>; anchor=\"/b\", <c>, <//cdn.example/d>",
            "</app/a>; anchor=\"/app/b\", <c>, <//cdn.example/d>",
        ),
        ("link", "<>; rel=self", "<>; rel=self"),
        ("set-cookie", "a=b; Path=/x; path=/", "a=b; Path=/app/x; path=/app"),
        ("set-cookie", "a=; Path=/; Max-Age=0; Priority=High", "a=; Path=/app; Max-Age=0; Priority=High"),
        ("set-cookie", "__host-a=b; Secure; Path=/", "__host-a=b; Secure; Path=/"),
        ("set-cookie", "a=b; Path=\"/x\"", "a=b; Path=\"/x\""),
        ("x-location", "/x", "/x"),
    ] {
        assert_eq!(rewritten(&keeps(), "/app/x", name, value), expected, "{name}: {value}");
    }
}

#[test]
fn cookies_without_a_path_at_the_bare_mount_point() {
    for (value, expected) in [
        ("a=b", "a=b; Path=/app"),
        ("a=b; Path=x; Secure", "a=b; Path=x; Secure; Path=/app"),
        ("a=b; Path=/x", "a=b; Path=/app/x"),
        ("a=b; Path=/x; Path", "a=b; Path=/app/x; Path; Path=/app"),
        ("__Host-a=b; Secure", "__Host-a=b; Secure"),
    ] {
        assert_eq!(rewritten(&keeps(), "/app", "set-cookie", value), expected, "{value}");
    }
}

/// A mount whose public prefix is empty: nothing to put before, but the received prefix to take away.
#[test]
fn mapped_to_the_root() {
    for (name, value, expected) in [
        ("location", "/django/x", "/x"),
        ("location", "/django", "/"),
        ("location", "/django//evil.example", "/evil.example"),
        ("location", "/django/\\evil.example", "/evil.example"),
        ("location", "/django/../x", "/django/../x"),
        ("location", "/x", "/x"),
        ("set-cookie", "a=b; Path=/django", "a=b; Path=/"),
        ("set-cookie", "a=b; Path=/django/x", "a=b; Path=/x"),
        ("set-cookie", "a=b; Path=/x", "a=b; Path=/x"),
    ] {
        assert_eq!(rewritten(&maps("/"), "/django/x", name, value), expected, "{value}");
    }
}

#[test]
fn all_lines_and_only_the_fields_that_were_asked_for() {
    let layer = keeps().rewrite(ResponseRewrite::none().also(HeaderName::from_static("hx-redirect")));
    assert_eq!(rewritten(&layer, "/app/x", "hx-redirect", "/x"), "/app/x");
    assert_eq!(rewritten(&layer, "/app/x", "location", "/x"), "/x");

    let mut sensitive = HeaderValue::from_static("b=1; Path=/");
    sensitive.set_sensitive(true);
    let response =
        Response::builder().header("set-cookie", "a=1; Path=/").header("set-cookie", sensitive).body(());
    let owed = keeps().config.unwrap().on_request(&mut parts("/app/x")).unwrap();
    let settled = owed.settle(response.unwrap());
    let lines: Vec<_> = settled.headers().get_all("set-cookie").iter().collect();
    assert_eq!(lines, ["a=1; Path=/app", "b=1; Path=/app"]);
    assert_eq!(lines.iter().map(|line| line.is_sensitive()).collect::<Vec<_>>(), [false, true]);
}

/// Ten thousand references from a page as deep as a URI may be: what each costs must not depend on the page.
#[test]
fn many_climbing_links_below_a_long_path() {
    let deep = format!("/app/{}", "a/".repeat(30_000));
    let links = vec!["<../x>"; 10_000].join(", ");
    let started = std::time::Instant::now();
    assert_eq!(rewritten(&keeps(), &deep, "link", &links), links);
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
}

/// As the inner service sees it.
fn inner_path(below: &[u8]) -> &[u8] {
    if below.is_empty() { b"/" } else { path::one_leading_slash(below) }
}

/// Resolves the reference where the inner service stands and where the browser does, and compares.
fn naive_relative(total: &str, below: &str, relative: &[u8]) -> Option<Vec<u8>> {
    let resolve = |base: &[u8]| {
        // Browsers have cleaned the base, of which a `..` at the end would be lost as the last segment.
        let base = dot_segments::remove(base, Dots::AsBrowsers);
        dot_segments::resolve(&base, relative, Dots::AsBrowsers)
    };
    let meant = resolve(inner_path(below.as_bytes()));
    let browsed = resolve([total, below].concat().as_bytes());
    let arrives = path::strip_prefix(&browsed, &PathPrefix::parse(total).unwrap()).map(inner_path);
    (arrives != Some(inner_path(&meant))).then_some(meant)
}

fn layers() -> impl Strategy<Value = (ScriptNamePrefixLayer, &'static str)> {
    let with_internal =
        |layer: ScriptNamePrefixLayer| layer.internal_authorities(InternalAuthorities::from_static(&["a"]));
    prop::sample::select(vec![
        (with_internal(keeps()), "/app/x/y"),
        (with_internal(keeps()), "/app"),
        (with_internal(keeps()), "/app//x/"),
        (ScriptNamePrefixLayer::proxy_strips(PathPrefix::from_static("/app")), "/x//y"),
        (maps("/app"), "/django/x"),
        (maps("/app"), "/django"),
    ])
}

const REFERENCE: &str = "(/|[.]|%2e|app|django|a|\\\\|\t|:|\\?|http://a|;|,|#){0,10}";

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        REFERENCE,
        REFERENCE.prop_map(|reference| format!("<{reference}>; anchor=\"{reference}\", <{reference}>")),
        REFERENCE.prop_map(|reference| format!("1; url={reference}")),
        REFERENCE.prop_map(|reference| format!("a=b; Path={reference}; path={reference}")),
    ]
}

proptest! {
    #[test]
    fn twice_is_once((layer, target) in layers(), value in value(), name in prop::sample::select(FIELDS)) {
        let Ok(value) = HeaderValue::from_str(&value) else { return Ok(()) };
        let once = settle(&layer, parts(target), name, value.as_bytes());
        let twice = settle(&layer, parts(target), name, &once);
        prop_assert_eq!(String::from_utf8(once), String::from_utf8(twice));
    }

    /// The browser follows a redirect to a path, absolute or relative, and it arrives where the inner service
    /// meant it to, wherever that path was not taken for a public one.
    #[test]
    fn redirects_arrive_where_they_are_meant_to(
        (layer, target) in layers(),
        path in "/?(/|[.]|%2e|a|b|\\\\|\t){0,10}",
    ) {
        let Ok(value) = HeaderValue::from_str(&path) else { return Ok(()) };
        let path = path.trim();
        if path.starts_with("//") || path.starts_with('\\') || path.is_empty() {
            return Ok(());
        }
        let mut request = parts(target);
        layer.config.as_ref().unwrap().on_request(&mut request).unwrap();
        let public = request.extensions.get::<crate::ScriptName>().unwrap().public_path();
        let public = public.split('?').next().unwrap();
        let seen = settle(&layer, parts(target), "location", value.as_bytes());
        let seen = seen.trim_ascii();
        let resolve = |base: &str, reference: &[u8]| match reference {
            [b'/', ..] => dot_segments::remove(reference, Dots::AsBrowsers),
            _ => dot_segments::resolve(base.as_bytes(), reference, Dots::AsBrowsers),
        };
        let browsed = resolve(public, seen);
        let arrived = path::strip_prefix(&browsed, &PathPrefix::from_static("/app"));
        let meant = resolve(request.uri.path(), path.as_bytes());
        prop_assert_eq!(arrived.map(inner_path), Some(inner_path(&meant)), "{} {:?}", target, seen);
    }

    #[test]
    fn relative_paths_are_left_alone_as_naively(
        total in prop::sample::select(vec!["/app", "/a", "/a/b"]),
        below in "(/(/|[.]|%2e|a|b|app|\\\\){0,8})?",
        relative in "(a|b|app|[.]|[.]|%2e)(/|[.]|[.][.]/|%2e|a|b|app|\\\\|\t){0,10}",
    ) {
        let layer = ScriptNamePrefixLayer::proxy_keeps(PathPrefix::parse(total).unwrap());
        let Ok(target) = Request::get(format!("{total}{below}")).body(()) else { return Ok(()) };
        if dot_segments::climbs_out(below.as_bytes()) || HeaderValue::from_str(&relative).is_err() {
            return Ok(());
        }
        let relative = relative.trim();
        let seen = settle(&layer, target.into_parts().0, "location", relative.as_bytes());
        let expected = match naive_relative(total, &below, relative.as_bytes()) {
            Some(meant) => [total.as_bytes(), &meant].concat(),
            None => relative.as_bytes().to_vec(),
        };
        prop_assert_eq!(String::from_utf8(seen), String::from_utf8(expected));
    }

    #[test]
    fn no_bytes_panic(
        (layer, target) in layers(),
        value in prop::collection::vec(any::<u8>(), 0..32),
        name in prop::sample::select(FIELDS),
    ) {
        if HeaderValue::from_bytes(&value).is_ok() {
            settle(&layer, parts(target), name, &value);
        }
    }
}
