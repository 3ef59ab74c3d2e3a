//! What ForwardedFor takes from the heap: nothing to find the client, and one boxed value to tell it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::ready;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Response};
use tower::{Layer, Service, service_fn};
use tower_proxied::forwarded_for::{Claims, Outcome, Proxied, Written};
use tower_proxied::{ForwardedForLayer, PeerAddr, TrustedProxies};

#[global_allocator]
static COUNTING: Counting = Counting;

const PROXY: PeerAddr = PeerAddr::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 4711));
const STRANGER: PeerAddr = PeerAddr::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66)), 4711));
const FOR: &str = "x-forwarded-for";

#[test]
fn the_counter_counts() {
    assert_eq!(taken(|| black_box(Box::new([0_u8; 24]))).0, Taken { allocations: 1, bytes: 24 });
    let grown = taken(|| {
        let mut text = Vec::with_capacity(1);
        text.extend_from_slice(black_box(&[0_u8; 100]));
        text
    });
    assert_eq!(grown.0.allocations, 2);
    let elsewhere = || std::thread::spawn(|| black_box(vec![0_u8; 1 << 20])).join().unwrap();
    assert!(taken(elsewhere).0.bytes < 1 << 20, "another thread's are not counted");
}

#[test]
fn x_forwarded_for() {
    let layer = ForwardedForLayer::x_forwarded_for(trusted());
    let hostile = "6.6.6.6, ".repeat(60 * 1024 / 9);
    for (lines, outcome) in [
        (&["203.0.113.5"][..], Outcome::Resolved),
        (&["203.0.113.5, 10.0.0.3"], Outcome::Resolved),
        (&["203.0.113.5, 10.0.0.3, 10.0.0.4, 10.0.0.5"], Outcome::Resolved),
        (&["[2001:db8::5]:4711, ::ffff:10.0.0.3, 10.0.0.4:80"], Outcome::Resolved),
        (&["6.6.6.6", "203.0.113.5,, 10.0.0.3", "", "10.0.0.4"], Outcome::Resolved),
        (&["10.0.0.3, 10.0.0.4"], Outcome::AllTrusted),
        (&["unknown, 10.0.0.3"], Outcome::Obscured),
        (&["6.6.6.6, _hidden"], Outcome::Obscured),
        (&[""], Outcome::Missing),
        (&[], Outcome::Missing),
        (&[&(hostile.clone() + "203.0.113.5, 10.0.0.3")], Outcome::Resolved),
        (&[&(",".repeat(60 * 1024) + "203.0.113.5, 10.0.0.3")], Outcome::Resolved),
        (&[&hostile, "203.0.113.5, 10.0.0.3"], Outcome::Resolved),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| (FOR, *line)).collect();
        costs_nothing(&layer, PROXY, &lines, outcome);
        costs_nothing(&layer, STRANGER, &lines, Outcome::Direct);
    }
    costs_nothing(&layer.clone().hops(2), PROXY, &[(FOR, "10.0.0.4, 10.0.0.3")], Outcome::Resolved);
    costs_nothing(&layer.unchecked_hops(2), STRANGER, &[(FOR, "6.6.6.6, 10.0.0.3")], Outcome::Resolved);
}

#[test]
fn a_large_set() {
    let networks = (0..1_000_u32).map(|number| format!("11.{}.{}.0/25", number >> 8, number & 255));
    let layer = ForwardedForLayer::x_forwarded_for(TrustedProxies::parse(networks).unwrap() | trusted());
    costs_nothing(&layer, PROXY, &[(FOR, "203.0.113.5, 11.1.1.1")], Outcome::Resolved);
}

#[test]
fn headers_of_one_address() {
    let layer = ForwardedForLayer::single(HeaderName::from_static("x-real-ip"), trusted());
    costs_nothing(&layer, PROXY, &[("x-real-ip", "203.0.113.5")], Outcome::Resolved);
    costs_nothing(&layer, PROXY, &[], Outcome::Missing);
    let layer = ForwardedForLayer::single("x-custom-ip".parse().unwrap(), trusted());
    costs_nothing(&layer, PROXY, &[("x-custom-ip", "203.0.113.5")], Outcome::Resolved);
    let layer = ForwardedForLayer::cloudfront(trusted());
    let address = "cloudfront-viewer-address";
    costs_nothing(&layer, PROXY, &[(address, "2001:db8::5:4711")], Outcome::Resolved);
}

#[test]
fn forwarded() {
    let layer = ForwardedForLayer::forwarded(trusted());
    let hostile = r#"for=6.6.6.6;host="a,b", for="\"", "#.repeat(60 * 1024 / 34);
    for (line, outcome) in [
        ("for=203.0.113.5", Outcome::Resolved),
        ("for=203.0.113.5;proto=https;host=shop.example, for=10.0.0.3;proto=http", Outcome::Resolved),
        (r#"for="[2001:db8::5]:4711";host="shop.example:8443", for="10.0.0.3:80""#, Outcome::Resolved),
        (r#"for="2\03.0.113.5";host="s\hop.ex\ample";proto="h\ttps""#, Outcome::Resolved),
        (r#"for=203.0.113.5;host="a,for=6.6.6.6;x=\"\\""#, Outcome::Resolved),
        (r#"for=", for=203.0.113.5, for=10.0.0.3"#, Outcome::Resolved),
        ("for=10.0.0.4, for=10.0.0.3", Outcome::AllTrusted),
        ("for=_hidden;proto=https", Outcome::Obscured),
        ("proto=https;host=shop.example", Outcome::Obscured),
        ("", Outcome::Missing),
        (&(hostile + "for=203.0.113.5, for=10.0.0.3"), Outcome::Resolved),
    ] {
        costs_nothing(&layer, PROXY, &[("forwarded", line)], outcome);
        costs_nothing(&layer, STRANGER, &[("forwarded", line)], Outcome::Direct);
    }
    let host = &format!("for=203.0.113.5;host={}", "a".repeat(62));
    costs_nothing(&layer, PROXY, &[("forwarded", host)], Outcome::Resolved);
}

#[test]
fn claims() {
    for (written, scheme, host, port) in [
        (Written::Set, "https", "shop.example", "8443"),
        (Written::Appended, "https, http", "Shop.Example:8443, 10.0.0.3", "8443, 80"),
        (Written::AppendedByNearest, "ws, https", "evil.example, [2001:db8::1]:8443", "1, 8443"),
        (Written::Set, "gopher", "no host", "0"),
    ] {
        let declared = Claims::none().scheme(written).host(written).port(written);
        let layer = ForwardedForLayer::x_forwarded_for(trusted()).claims(declared);
        let lines = [
            (FOR, "203.0.113.5, 10.0.0.3"),
            ("x-forwarded-proto", scheme),
            ("x-forwarded-host", host),
            ("x-forwarded-port", port),
        ];
        costs_nothing(&layer, PROXY, &lines, Outcome::Resolved);
        costs_nothing(&layer, STRANGER, &lines, Outcome::Direct);
        costs_nothing(&layer, PROXY, &[], Outcome::Missing);
    }
    let optional = Written::Set.optional();
    let declared = Claims::none().scheme(optional).host(optional).port(optional).prefix(optional);
    let layer = ForwardedForLayer::x_forwarded_for(trusted()).claims(declared);
    costs_nothing(&layer, PROXY, &[(FOR, "203.0.113.5")], Outcome::Resolved);
}

/// Where nothing must be cut, the layer costs what its extension costs, to the byte.
#[test]
fn the_service_adds_one_value() {
    let claims = Claims::none().scheme(Written::Set).host(Written::Appended).port(Written::Set);
    let x_forwarded_for = ForwardedForLayer::x_forwarded_for(trusted()).claims(claims);
    let forwarded = ForwardedForLayer::forwarded(trusted());
    let attested = [
        (FOR, "203.0.113.5, 10.0.0.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example, inner"),
        ("x-forwarded-port", "8443"),
        ("accept", "*/*"),
    ];
    let element = ("forwarded", r#"for=203.0.113.5;proto=https;host="shop.ex\ample:8443", for=10.0.0.3"#);
    let real_ip = ForwardedForLayer::single(HeaderName::from_static("x-real-ip"), trusted());
    for (layer, lines) in [
        (&x_forwarded_for, &attested[..]),
        (&x_forwarded_for, &[]),
        (&forwarded, &[element, ("accept", "*/*")]),
        (&forwarded, &[("accept", "*/*")]),
        (&real_ip, &[("x-real-ip", "203.0.113.5")]),
    ] {
        let (into_empty, proxied) =
            through(&layer.clone().peer_from(|_| Some(PROXY)), Extensions::new(), lines);
        let mut extensions = Extensions::new();
        let (alone, _) = taken(|| extensions.insert(proxied));
        assert_eq!(into_empty, alone, "{lines:?}");
        println!("into an empty map: {alone:?}, the value has {} bytes", size_of::<Proxied>());

        let mut extensions = Extensions::new();
        extensions.insert(PROXY);
        let (beside_the_peer, _) = through(layer, extensions, lines);
        let value = Taken { allocations: 1, bytes: size_of::<Proxied>() };
        assert_eq!(beside_the_peer, value, "{lines:?}");
    }
}

#[test]
fn a_stranger_costs_one_value() {
    let layer = ForwardedForLayer::x_forwarded_for(trusted());
    let mut extensions = Extensions::new();
    extensions.insert(STRANGER);
    let value = Taken { allocations: 1, bytes: size_of::<Proxied>() };
    assert_eq!(through(&layer, extensions.clone(), &[("accept", "*/*")]).0, value);
    assert_eq!(through(&layer, extensions, &[("forwarded", "for=6.6.6.6")]).0, value);
}

fn trusted() -> TrustedProxies {
    TrustedProxies::parse(["10.0.0.0/8", "fd00::/64"]).unwrap()
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn costs_nothing(
    layer: &ForwardedForLayer,
    peer: PeerAddr,
    lines: &[(&'static str, &str)],
    outcome: Outcome,
) {
    let headers = headers(lines);
    let (taken, proxied) = taken(|| layer.resolve(black_box(Some(&peer)), black_box(&headers)));
    let shown: Vec<_> = lines.iter().map(|(name, value)| (name, value.get(..80).unwrap_or(value))).collect();
    assert_eq!(proxied.unwrap().outcome(), outcome, "{shown:?}");
    assert_eq!(taken, Taken { allocations: 0, bytes: 0 }, "{shown:?}");
}

/// What the layer takes for a request with these extensions, and what it leaves.
fn through(
    layer: &ForwardedForLayer,
    extensions: Extensions,
    lines: &[(&'static str, &str)],
) -> (Taken, Proxied) {
    let left = Cell::new(None);
    let mut service = layer.layer(service_fn(|request: Request<()>| {
        left.set(Some(request));
        ready(Ok::<_, Infallible>(Response::new(())))
    }));
    let mut request = Request::new(());
    *request.headers_mut() = headers(lines);
    *request.extensions_mut() = extensions;
    let (taken, answer) = taken(|| {
        let mut context = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut context).is_ready());
        pin!(service.call(request)).poll(&mut context)
    });
    assert!(matches!(answer, Poll::Ready(Ok(answer)) if answer.status() == 200));
    drop(service);
    (taken, left.into_inner().unwrap().extensions_mut().remove().unwrap())
}

/// What one thread took from the heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    allocations: usize,
    bytes: usize,
}

thread_local! {
    static TAKEN: Cell<Taken> = const { Cell::new(Taken { allocations: 0, bytes: 0 }) };
}

fn taken<T>(work: impl FnOnce() -> T) -> (Taken, T) {
    let before = TAKEN.get();
    let done = work();
    let after = TAKEN.get();
    let taken =
        Taken { allocations: after.allocations - before.allocations, bytes: after.bytes - before.bytes };
    (taken, done)
}

/// The system's allocator, counting for each thread.
struct Counting;

impl Counting {
    fn count(size: usize) {
        let taken = TAKEN.get();
        TAKEN.set(Taken { allocations: taken.allocations + 1, bytes: taken.bytes + size });
    }
}

// SAFETY: all is handed on to the system's allocator, and counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}
