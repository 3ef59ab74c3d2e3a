//! ProxyRemoteUser beside header layers of tower-http and beside a search through the list of names, on the same
//! requests in the same run.
//!
//! `cargo bench --bench proxy_remote_user`. All contenders are services over the same one, which keeps the request for
//! the next call; they are timed in turn, many times. The table shows medians, and how many times as long as ours each
//! takes.

mod support;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tower::util::MapRequestLayer;
use tower::{Layer, Service};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::set_header::SetRequestHeaderLayer;
use tower_proxied::wire::name::{IDENTITY, IDENTITY_PREFIXES, NameSet, fold_together, folds_to_prefix};
use tower_proxied::{Anonymous, Identity, PeerAddr, Proof, ProxyRemoteUserLayer, TrustedProxies};

use self::support::{interleaved, is_wanted};

const PROXY: &str = "10.0.0.1:40000";
const STRANGER: &str = "203.0.113.9:40000";
const OWN: [&str; 4] = ["remote-user", "remote-groups", "remote-name", "remote-email"];

fn main() {
    if !is_wanted() {
        return;
    }
    names();
    requests("clean request, 20 headers", PROXY, &[]);
    let user = [
        ("remote-user", "alice"),
        ("remote-groups", "dev,ops,admins"),
        ("remote-name", "Alice A."),
        ("remote-email", "alice@example.com"),
    ];
    requests("user without groups, 20 + 1 headers", PROXY, &user[..1]);
    requests("user with 3 groups, 20 + 2 headers", PROXY, &user[..2]);
    requests("user with 3 groups, name and email, 20 + 4 headers", PROXY, &user);
    let forged = [user[0], user[1], ("remote_user", "root"), ("x.webauth_user", "root")];
    requests("forged by a stranger, 20 + 4 headers", STRANGER, &forged);
    growth();
}

/// What a browser behind a proxy sends.
const CLEAN: [(&str, &str); 20] = [
    ("host", "shop.example"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
    ("accept-language", "lv,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://shop.example/"),
    ("cookie", "id=0123456789abcdef; theme=dark"),
    ("connection", "keep-alive"),
    ("cache-control", "max-age=0"),
    ("upgrade-insecure-requests", "1"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-user", "?1"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("x-forwarded-for", "203.0.113.5"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "shop.example"),
    ("x-request-id", "7f1c9d4e"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
];

/// The search alone, through the names of one request.
fn names() {
    println!("20 names, none of them protected: ns");
    println!("{:46} {:>8} {:>16}", "", "compiled", "list");
    let headers = HeaderMap::from_iter(lines(&CLEAN));
    let twenty_five: Vec<&str> = OWN.iter().chain(IDENTITY).copied().take(25).collect();
    let all: Vec<&str> = OWN.iter().chain(IDENTITY).copied().collect();
    for (names, prefixes) in [(&OWN[..], &[][..]), (&twenty_five, &[]), (&all, IDENTITY_PREFIXES)] {
        let set = NameSet::new(names, prefixes);
        let compiled = || headers.keys().filter(|name| set.contains(name)).count();
        let list = || headers.keys().filter(|name| is_listed(names, prefixes, name)).count();
        assert_eq!((compiled(), list()), (0, 0));
        let [compiled, list] = interleaved([&|| _ = black_box(compiled()), &|| _ = black_box(list())]);
        let what = format!("{} names, {} prefixes", names.len(), prefixes.len());
        println!("{what:46} {compiled:>8.0} {:>16}", times(list, compiled));
    }
}

/// Whole services: 4 own names and 33 well-known ones are protected, and 6 prefixes.
fn requests(what: &str, peer: &str, added: &[(&str, &str)]) {
    let (clean, added) = (lines(&CLEAN), lines(added));
    let sensitive = |names: &[&'static str]| {
        SetSensitiveRequestHeadersLayer::new(names.iter().map(|name| HeaderName::from_static(name)))
    };
    let set =
        SetRequestHeaderLayer::overriding(HeaderName::from_static("x-set"), HeaderValue::from_static("set"));
    let [ours, bare, list, set, four, many] = interleaved([
        &contender(&ours(), peer, &clean, &added),
        &contender(&remove(&added), peer, &clean, &added),
        &contender(&by_list(), peer, &clean, &added),
        &contender(&set, peer, &clean, &added),
        &contender(&sensitive(&OWN), peer, &clean, &added),
        &contender(&sensitive(&IDENTITY[..25]), peer, &clean, &added),
    ]);
    println!("\n{what}: ns");
    for (name, time) in [
        ("ProxyRemoteUser", ours),
        ("removes those added, by name, and that is all", bare),
        ("removes by list, and leaves nobody", list),
        ("tower_http SetRequestHeader", set),
        ("tower_http SetSensitiveRequestHeaders, 4", four),
        ("tower_http SetSensitiveRequestHeaders, 25", many),
    ] {
        println!("{name:46} {:>16}", times(time, ours));
    }
}

/// Time must grow with the number of headers, not with its square.
fn growth() {
    println!("\nhow it grows: ns per header");
    println!("{:46} {:>8} {:>8} {:>24}", "headers", "clean", "forged", "inserted and removed");
    for count in [20, 100, 400, 1000] {
        let named = |start: &str| {
            let names: Vec<String> = (0..count).map(|number| format!("{start}{number}")).collect();
            lines(&names.iter().map(|name| (&**name, "x")).collect::<Vec<_>>())
        };
        let (clean, forged) = (named("x-cat-"), named("x_authentik."));
        let [clean, forged, alone] = interleaved([
            &contender(&ours(), STRANGER, &clean, &[]),
            &contender(&ours(), STRANGER, &[], &forged),
            &contender(&remove(&forged), STRANGER, &[], &forged),
        ])
        .map(|median| median / f64::from(count));
        println!("{count:<46} {clean:>8.1} {forged:>8.1} {alone:>24.1}");
    }
}

fn ours() -> ProxyRemoteUserLayer {
    ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::parse(["10.0.0.0/8"]).unwrap())).build().unwrap()
}

/// What any layer pays that takes these out.
fn remove(lines: &[Line]) -> MapRequestLayer<impl Fn(Request<()>) -> Request<()> + Clone + use<>> {
    let names: Rc<[HeaderName]> = lines.iter().map(|(name, _)| name.clone()).collect();
    MapRequestLayer::new(move |mut request: Request<()>| {
        names.iter().for_each(|name| _ = request.headers_mut().remove(name));
        request
    })
}

/// The same work without a compiled set.
fn by_list() -> MapRequestLayer<impl Fn(Request<()>) -> Request<()> + Clone> {
    let all: Vec<&str> = OWN.iter().chain(IDENTITY).copied().collect();
    MapRequestLayer::new(move |mut request: Request<()>| {
        request.extensions_mut().remove::<Identity>();
        let is_found = |name: &&HeaderName| is_listed(&all, IDENTITY_PREFIXES, name);
        let found: Vec<HeaderName> = request.headers().keys().filter(is_found).cloned().collect();
        found.iter().for_each(|name| _ = request.headers_mut().remove(name));
        request.extensions_mut().insert(Identity::Anonymous(Anonymous::Unproven));
        request
    })
}

fn is_listed(names: &[&str], prefixes: &[&str], name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    names.iter().any(|own| fold_together(name, own.as_bytes()))
        || prefixes.iter().any(|prefix| folds_to_prefix(name, prefix.as_bytes()))
}

fn times(time: f64, ours: f64) -> String {
    format!("{time:.0} ({:.1}x)", time / ours)
}

type Line = (HeaderName, HeaderValue);

/// Names own their bytes, as those that a server has read.
fn lines(lines: &[(&str, &str)]) -> Vec<Line> {
    let line = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    lines.iter().map(line).collect()
}

/// One call of a layer's service, for a request whose first lines stay, and to which the others are added each time.
fn contender<L, B>(layer: &L, peer: &str, stay: &[Line], added: &[Line]) -> impl Fn() + use<L, B>
where
    L: Layer<Keep, Service: Service<Request<()>, Response = Response<B>, Error = Infallible>>,
{
    let mut request = Request::new(());
    request.headers_mut().extend(stay.iter().cloned());
    request.extensions_mut().insert(PeerAddr::Tcp(peer.parse().unwrap()));
    let kept = Rc::new(Cell::new(Some(request)));
    let service = RefCell::new(layer.layer(Keep(kept.clone())));
    let added = added.to_vec();
    move || {
        let mut request = kept.take().unwrap();
        for (name, value) in &added {
            request.headers_mut().insert(name, value.clone());
        }
        let mut context = Context::from_waker(Waker::noop());
        let answer = pin!(service.borrow_mut().call(black_box(request))).poll(&mut context);
        assert!(matches!(answer, Poll::Ready(Ok(answer)) if answer.status() == 200));
    }
}

/// The service within: it keeps the request.
struct Keep(Rc<Cell<Option<Request<()>>>>);

impl Service<Request<()>> for Keep {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        self.0.set(Some(request));
        ready(Ok(Response::new(())))
    }
}
