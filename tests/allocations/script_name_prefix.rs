//! What ScriptNamePrefix takes from the heap: one boxed value for what it leaves, one copy of a path that it cuts, and
//! one of each value that it rewrites.

mod counting;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use counting::{Taken, taken};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use tower::{Layer, Service, service_fn};
use tower_proxied::script_name_prefix::{AlreadyPrefixed, InternalAuthorities, Mounts, Unmatched};
use tower_proxied::{PathPrefix, PublicUrl, ScriptName, ScriptNamePrefixLayer};

#[test]
fn a_request_costs_its_value_and_a_path_that_is_cut() {
    let mounts =
        Mounts { public: PathPrefix::from_static("/webapps"), received: PathPrefix::from_static("/django") };
    let maps = ScriptNamePrefixLayer::proxy_maps(mounts);
    let either = ScriptNamePrefixLayer::either(PathPrefix::from_static("/webapps"));
    let passes = keeps().unmatched(Unmatched::PassThrough);
    for (layer, target, inner, cut) in [
        (keeps(), "/webapps/login?next=1", "/login?next=1", 1),
        (keeps(), "http://example.com/webapps/login", "http://example.com/login", 1),
        (keeps(), "/webapps", "/", 0),
        (keeps(), "/webapps?x", "/?x", 1),
        (keeps(), "/%77ebapps//a%2Fb", "/a%2Fb", 1),
        (strips(), "/login?next=1", "/login?next=1", 0),
        (strips(), "//login", "/login", 1),
        (maps, "/django/login", "/login", 1),
        (either.clone(), "/webapps/login", "/login", 1),
        (either, "/login", "/login", 0),
        (passes, "/login", "/login", 0),
        (ScriptNamePrefixLayer::proxy_keeps(PathPrefix::root()), "/login", "/login", 0),
    ] {
        let seen = through(&layer, target, true, &[]);
        assert_eq!(seen.inner, inner);
        let value = Taken { allocations: 1, bytes: size_of::<ScriptName>() };
        assert_eq!(seen.taken.allocations, value.allocations + cut, "{target}");
        println!("{target}: {:?}, the value has {} bytes", seen.taken, value.bytes);
    }
    let long = format!("/webapps/{}", "a".repeat(60_000));
    assert_eq!(through(&keeps(), &long, true, &[]).taken.allocations, 2);
    assert_eq!(through(&ScriptNamePrefixLayer::disabled(), "/webapps", true, &[]).taken, Taken::default());
    let asterisk = through(&keeps(), "*", true, &[]);
    assert_eq!(asterisk.taken, Taken::default());
}

/// The first value in a request's extensions brings the map along: `http`'s box and its table.
#[test]
fn the_first_extension_pays_for_the_map() {
    let beside = through(&strips(), "/x", true, &[]).taken;
    let alone = through(&strips(), "/x", false, &[]).taken;
    assert_eq!(alone.allocations - beside.allocations, 2);
}

#[test]
fn an_answer_costs_what_is_rewritten() {
    let url = Some("https://example.com");
    let internal =
        keeps().internal_authorities(InternalAuthorities::from_static(&["http-1:8000", "127.0.0.1:8081"]));
    let always = keeps().already_prefixed(AlreadyPrefixed::Always);
    let mounts =
        Mounts { public: PathPrefix::from_static("/webapps"), received: PathPrefix::from_static("/django") };
    let maps = ScriptNamePrefixLayer::proxy_maps(mounts);
    for (layer, url, name, value, rewritten, allocations) in [
        // Nothing is rewritten.
        (&internal, url, "location", "/webapps/home", "/webapps/home", 0),
        (
            &internal,
            url,
            "location",
            "https://idp.example/login?next=/",
            "https://idp.example/login?next=/",
            0,
        ),
        (&internal, url, "location", "https://example.com/webapps/x", "https://example.com/webapps/x", 0),
        (&internal, url, "location", "?page=2", "?page=2", 0),
        (&internal, url, "location", "next/page", "next/page", 0),
        (&internal, url, "set-cookie", "a=1; HttpOnly", "a=1; HttpOnly", 0),
        (&internal, url, "set-cookie", "__Host-a=1; Path=/; Secure", "__Host-a=1; Path=/; Secure", 0),
        (&internal, url, "link", "<//cdn.example/x>; rel=preload", "<//cdn.example/x>; rel=preload", 0),
        (&internal, url, "refresh", "5", "5", 0),
        (&internal, url, "content-type", "text/html", "text/html", 0),
        // One value is.
        (&internal, None, "location", "/home?a=b#c", "/webapps/home?a=b#c", 1),
        (&always, None, "location", "/webapps/x", "/webapps/webapps/x", 1),
        (&maps, None, "location", "/django/x", "/webapps/x", 1),
        (&internal, url, "location", "https://example.com/x", "https://example.com/webapps/x", 1),
        (&internal, url, "location", "http://http-1:8000/x", "https://example.com/webapps/x", 1),
        (&internal, url, "location", "http://127.0.0.1:8081", "https://example.com/webapps/", 1),
        (&internal, None, "location", "http://http-1:8000/x", "http://http-1:8000/webapps/x", 1),
        (&internal, url, "content-location", "/x", "/webapps/x", 1),
        (&internal, url, "refresh", "0; url='/x'", "0; url='/webapps/x'", 1),
        (&internal, url, "set-cookie", "a=1; Path=/; HttpOnly", "a=1; Path=/webapps; HttpOnly", 1),
        (&internal, url, "set-cookie", "a=1; path=/x; Path=/y", "a=1; path=/webapps/x; Path=/webapps/y", 1),
        (
            &internal,
            url,
            "link",
            "</a>; rel=x; anchor=\"/b\", </c>; rel=y",
            "</webapps/a>; rel=x; anchor=\"/webapps/b\", </webapps/c>; rel=y",
            1,
        ),
        // Dot segments are resolved in buffers of their own; in a field of a grammar of its own once for the length and
        // once for the bytes.
        (&internal, url, "location", "/../x", "/webapps/x", 2),
        (&internal, url, "refresh", "0; url=/../x", "0; url=/webapps/x", 3),
    ] {
        let received = if std::ptr::eq(layer, &maps) { "/django/x" } else { "/webapps/x" };
        let without = through_with(layer, received, true, &[], url).taken;
        let seen = through_with(layer, received, true, &[(name, value)], url);
        assert_eq!(seen.headers[name], rewritten);
        assert_eq!(seen.taken.allocations - without.allocations, allocations, "{name}: {value}");
        if allocations == 1 {
            assert_eq!(seen.taken.bytes - without.bytes, rewritten.len(), "to the byte: {value}");
        }
    }
    let lines = [("set-cookie", "a=1; Path=/"), ("set-cookie", "b=1; Path=/"), ("location", "/x")];
    let without = through(&keeps(), "/webapps/x", true, &[]).taken.allocations;
    assert_eq!(through(&keeps(), "/webapps/x", true, &lines).taken.allocations - without, 3);
}

fn keeps() -> ScriptNamePrefixLayer {
    ScriptNamePrefixLayer::proxy_keeps(PathPrefix::from_static("/webapps"))
}

fn strips() -> ScriptNamePrefixLayer {
    ScriptNamePrefixLayer::proxy_strips(PathPrefix::from_static("/webapps"))
}

struct Seen {
    taken: Taken,
    inner: String,
    headers: HeaderMap,
}

fn through(
    layer: &ScriptNamePrefixLayer,
    target: &str,
    beside_others: bool,
    lines: &[(&'static str, &str)],
) -> Seen {
    through_with(layer, target, beside_others, lines, None)
}

/// What the layer takes for a request whose target shares the buffer of its head, as hyper hands it over.
fn through_with(
    layer: &ScriptNamePrefixLayer,
    target: &str,
    beside_others: bool,
    lines: &[(&'static str, &str)],
    url: Option<&'static str>,
) -> Seen {
    let head = bytes::Bytes::from(format!("GET {target} HTTP/1.1\r\n"));
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_maybe_shared(head.slice(4..4 + target.len())).unwrap();
    if beside_others {
        request.extensions_mut().insert(0_u8);
    }
    if let Some(url) = url {
        request.extensions_mut().insert(PublicUrl::from_static(url));
    }
    let mut response = Response::new(());
    for (name, value) in lines {
        response
            .headers_mut()
            .append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let (answer, inner) = (RefCell::new(Some(response)), RefCell::new(None));
    let mut service = layer.layer(service_fn(|request: Request<()>| {
        *inner.borrow_mut() = Some(request);
        ready(Ok::<_, Infallible>(answer.take().unwrap()))
    }));
    let (taken, answered) = taken(|| {
        let mut context = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut context).is_ready());
        pin!(service.call(request)).poll(&mut context)
    });
    drop(service);
    let Poll::Ready(Ok(answered)) = answered else { unreachable!("nothing here waits") };
    let inner = inner.take().map(|request| request.uri().to_string()).unwrap();
    Seen { taken, inner, headers: answered.headers().clone() }
}
