//! What `ForceHttpsBody` owes every response: 512 of them each time, 100,000 with `--ignored`.

use std::convert::Infallible;
use std::future::ready;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, response};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestError, TestRunner};
use tower::{ServiceBuilder, ServiceExt};
use tower_proxied::force_https_body::{UpgradePolicy, Upgrader};
use tower_proxied::forwarded_for::{Claims, Written};
use tower_proxied::{ForceHttpsBodyLayer, ForwardedForLayer, PeerAddr, TrustedProxies};

use self::scripted::{Failed, Script, Scripted, Seen, Step, read};

#[path = "force_https_laws/scripted.rs"]
mod scripted;

macro_rules! laws {
    ($($law:ident),+ $(,)?) => {$(
        mod $law {
            #[test]
            fn holds() {
                super::hold(512, super::law::$law);
            }

            #[test]
            #[ignore = "takes minutes without optimisation"]
            fn holds_a_hundred_thousand_times() {
                super::hold(100_000, super::law::$law);
            }
        }
    )+};
}

laws!(
    a_plain_request_changes_nothing,
    a_plain_request_behind_a_proxy_adds_vary_at_most,
    a_report_changes_nothing,
    a_clean_page_that_is_there_at_once_stays_as_it_is,
    what_is_no_page_keeps_its_bytes,
    the_bytes_are_those_of_the_engine,
    the_head_is_true_of_the_bytes,
    a_body_that_is_dropped_takes_the_inner_one_along,
);

fn hold(cases: u32, law: fn(&Exchange) -> Result<(), TestCaseError>) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    match TestRunner::new(config).run(&exchange(), |exchange| law(&exchange)) {
        Ok(()) => {}
        Err(TestError::Fail(reason, exchange)) => panic!("{reason}\n{exchange:#?}"),
        Err(error) => panic!("{error}"),
    }
}

mod law {
    use super::*;

    type Verdict = Result<(), TestCaseError>;

    pub(super) fn a_plain_request_changes_nothing(exchange: &Exchange) -> Verdict {
        let layer = with_all_options().secure_when(|_| false);
        is_untouched(exchange, serve(exchange, layer, ForwardedForLayer::disabled()))
    }

    pub(super) fn a_plain_request_behind_a_proxy_adds_vary_at_most(exchange: &Exchange) -> Verdict {
        let proxy = ForwardedForLayer::x_forwarded_for(TrustedProxies::unix())
            .claims(Claims::none().scheme(Written::Set));
        let mut served = serve(exchange, with_all_options(), proxy);
        if served.parts.headers.get_all(header::VARY).iter().count()
            > exchange.head().headers.get_all(header::VARY).iter().count()
        {
            let mut lines: Vec<_> = served.parts.headers.get_all(header::VARY).iter().cloned().collect();
            prop_assert_eq!(lines.pop().unwrap(), "x-forwarded-proto");
            served.parts.headers.remove(header::VARY);
            for line in lines {
                served.parts.headers.append(header::VARY, line);
            }
        }
        served.request_headers = exchange.request_headers();
        is_untouched(exchange, served)
    }

    pub(super) fn a_report_changes_nothing(exchange: &Exchange) -> Verdict {
        let layer = with_all_options().report_only().secure_when(|_| true);
        is_untouched(exchange, serve(exchange, layer, ForwardedForLayer::disabled()))
    }

    pub(super) fn a_clean_page_that_is_there_at_once_stays_as_it_is(exchange: &Exchange) -> Verdict {
        let mut clean = exchange.clone();
        clean.page =
            String::from_utf8_lossy(&exchange.page).to_ascii_lowercase().replace("http", "ftp").into();
        clean.lines.retain(|(name, _)| *name != "link");
        clean.method = Method::GET;
        clean.status = 200;
        (clean.cuts, clean.waits, clean.is_exact) = (Vec::new(), false, true);
        is_untouched(&clean, serve(&clean, secure(), ForwardedForLayer::disabled()))
    }

    pub(super) fn what_is_no_page_keeps_its_bytes(exchange: &Exchange) -> Verdict {
        let served = serve(exchange, secure(), ForwardedForLayer::disabled());
        if !exchange.is_page() {
            prop_assert_eq!(served.seen, exchange.as_sent());
        }
        Ok(())
    }

    pub(super) fn the_bytes_are_those_of_the_engine(exchange: &Exchange) -> Verdict {
        let served = serve(exchange, secure(), ForwardedForLayer::disabled());
        prop_assert_eq!(served.parts.status, exchange.status);
        if !exchange.is_page() || exchange.ends == Ends::Failed {
            prop_assert!(exchange.ends != Ends::Failed || served.seen.error == Some(Failed));
            return Ok(());
        }
        prop_assert_eq!(served.seen.error, None);
        prop_assert_eq!(served.seen.data(), exchange.upgraded());
        // Of trailers go those that were true of other bytes.
        let kept =
            |trailers: &Option<HeaderMap>| trailers.as_ref().map(|trailers| trailers.get("x-rows").cloned());
        prop_assert_eq!(kept(&served.seen.trailers), kept(&exchange.as_sent().trailers));
        Ok(())
    }

    pub(super) fn the_head_is_true_of_the_bytes(exchange: &Exchange) -> Verdict {
        let served = serve(exchange, secure(), ForwardedForLayer::disabled());
        let (was, is) = (exchange.as_sent(), &served.seen);
        let has_all = exchange.ends != Ends::Failed && exchange.method == Method::GET;
        let headers = &served.parts.headers;
        if has_all && exchange.says_true_length() {
            for len in headers.get_all(header::CONTENT_LENGTH) {
                prop_assert_eq!(len.to_str().unwrap(), is.data().len().to_string());
            }
        }
        let is_changed = is.data() != was.data();
        for fields in [Some(headers), is.trailers.as_ref()].into_iter().flatten() {
            for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
                for digest in fields.get_all(name) {
                    prop_assert!(!is_changed || *digest == digest_of(&is.data()), "{} is not true", name);
                }
            }
        }
        if is_changed {
            let tags = headers.get_all(header::ETAG).iter();
            prop_assert!(tags.map(HeaderValue::as_bytes).all(|tag| tag.starts_with(b"W/")));
            prop_assert!(!headers.contains_key(header::ACCEPT_RANGES));
        }
        Ok(())
    }

    pub(super) fn a_body_that_is_dropped_takes_the_inner_one_along(exchange: &Exchange) -> Verdict {
        for frames in 0..3 {
            let script = exchange.script();
            let (_, body, _) = respond(exchange, &script, secure(), ForwardedForLayer::disabled());
            read(body, &script, frames);
            prop_assert_eq!(script.bodies(), 0);
        }
        Ok(())
    }

    fn is_untouched(exchange: &Exchange, served: Served) -> Verdict {
        let head = exchange.head();
        prop_assert_eq!(served.request_headers, exchange.request_headers());
        prop_assert_eq!(served.parts.status, head.status);
        prop_assert_eq!(served.parts.headers, head.headers);
        prop_assert_eq!(served.seen, exchange.as_sent());
        Ok(())
    }
}

fn secure() -> ForceHttpsBodyLayer {
    ForceHttpsBodyLayer::new().secure_when(|_| true)
}

fn with_all_options() -> ForceHttpsBodyLayer {
    ForceHttpsBodyLayer::new().request_identity().upgrade_insecure_requests()
}

struct Served {
    request_headers: HeaderMap,
    parts: response::Parts,
    seen: Seen,
}

fn serve(exchange: &Exchange, layer: ForceHttpsBodyLayer, proxy: ForwardedForLayer) -> Served {
    let script = exchange.script();
    let (parts, body, request_headers) = respond(exchange, &script, layer, proxy);
    let seen = read(body, &script, usize::MAX);
    Served { request_headers, parts, seen }
}

fn respond(
    exchange: &Exchange,
    script: &Script,
    layer: ForceHttpsBodyLayer,
    proxy: ForwardedForLayer,
) -> (response::Parts, impl http_body::Body<Data = Bytes, Error = Failed> + use<>, HeaderMap) {
    let mut response = Some(Response::from_parts(exchange.head(), script.body()));
    let mut request = Request::new(());
    *request.method_mut() = exchange.method.clone();
    *request.headers_mut() = exchange.request_headers();
    request.headers_mut().append("x-forwarded-for", HeaderValue::from_static("203.0.113.5"));
    request.headers_mut().append("x-forwarded-proto", HeaderValue::from_static("http"));
    request.extensions_mut().insert(PeerAddr::Unix);
    let mut headers = HeaderMap::new();
    let service = ServiceBuilder::new().layer(proxy).layer(layer).service_fn(|request: Request<()>| {
        headers = request.headers().clone();
        ready(Ok::<Response<Scripted>, Infallible>(response.take().unwrap()))
    });
    let answer = pin!(service.oneshot(request)).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Ok(response)) = answer else { panic!("the head waits for nothing") };
    let (parts, body) = response.into_parts();
    headers.remove("x-forwarded-for");
    headers.remove("x-forwarded-proto");
    (parts, body, headers)
}

#[derive(Clone, Debug)]
struct Exchange {
    method: Method,
    asked: Vec<(&'static str, &'static str)>,
    status: u16,
    lines: Vec<(&'static str, Line)>,
    page: Bytes,
    /// Where it is cut, as parts of 1000.
    cuts: Vec<usize>,
    waits: bool,
    is_exact: bool,
    ends: Ends,
}

#[derive(Clone, Debug)]
enum Line {
    Bytes(Bytes),
    Length,
    Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Plain,
    Trailers,
    Failed,
}

fn digest_of(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("sha-256=:{:016x}:", hasher.finish())
}

impl Exchange {
    fn request_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.asked {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn head(&self) -> response::Parts {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        for (name, line) in &self.lines {
            let value = match line {
                Line::Bytes(bytes) => HeaderValue::from_bytes(bytes).unwrap(),
                Line::Length => HeaderValue::from(self.page.len()),
                Line::Digest => digest_of(&self.page).parse().unwrap(),
            };
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
        response.into_parts().0
    }

    fn script(&self) -> Script {
        let mut cuts: Vec<_> = self.cuts.iter().map(|cut| cut * self.page.len() / 1000).collect();
        cuts.sort_unstable();
        let (mut steps, mut start) = (Vec::new(), 0);
        for cut in cuts.into_iter().chain([self.page.len()]) {
            steps.extend(self.waits.then_some(Step::Wait));
            steps.push(Step::Data(self.page.slice(start..cut)));
            start = cut;
        }
        steps.extend(self.waits.then_some(Step::Wait));
        steps.extend(match self.ends {
            Ends::Plain => None,
            Ends::Trailers => Some(Step::Trailers(HeaderMap::from_iter([
                (HeaderName::from_static("x-rows"), HeaderValue::from_static("7")),
                (HeaderName::from_static("repr-digest"), digest_of(&self.page).parse().unwrap()),
            ]))),
            Ends::Failed => Some(Step::Fail),
        });
        Script::new(steps, self.is_exact)
    }

    fn as_sent(&self) -> Seen {
        let script = self.script();
        read(script.body(), &script, usize::MAX)
    }

    fn upgraded(&self) -> Bytes {
        let kind = self.value_of("content-type").to_ascii_lowercase();
        let mut upgrader = match kind.starts_with("application/xhtml") {
            true => Upgrader::xhtml(UpgradePolicy::new()),
            false => Upgrader::new(UpgradePolicy::new()),
        };
        [upgrader.push(self.page.clone()), upgrader.finish()].concat().into()
    }

    fn says_true_length(&self) -> bool {
        self.lines.iter().all(|(name, line)| *name != "content-length" || matches!(line, Line::Length))
    }

    /// All lines of a field, as one.
    fn value_of(&self, name: &str) -> String {
        let lines = self.lines.iter().filter(|(field, _)| *field == name);
        let text = lines.map(|(_, line)| match line {
            Line::Bytes(bytes) => bytes.iter().map(|byte| char::from(*byte)).collect(),
            Line::Length | Line::Digest => String::new(),
        });
        text.collect::<Vec<_>>().join(",")
    }

    /// The gate, in the plainest words.
    fn is_page(&self) -> bool {
        let tokens = |name| -> Vec<String> {
            let value = self.value_of(name).to_ascii_lowercase();
            value.split(',').map(|token| token.trim_matches([' ', '\t']).to_owned()).collect()
        };
        let html = ["text/html", "text/html; charset=utf-8", "application/xhtml+xml;charset=\"shift_jis\""];
        let types: Vec<_> = self.lines.iter().filter(|(name, _)| *name == "content-type").collect();
        types.len() == 1
            && html.contains(&self.value_of("content-type").to_ascii_lowercase().as_str())
            && ![101, 204, 205, 206, 304].contains(&self.status)
            && !self.lines.iter().any(|(name, _)| *name == "content-range")
            && tokens("content-encoding").iter().all(|coding| coding.is_empty() || coding == "identity")
            && !tokens("cache-control").contains(&"no-transform".to_owned())
            && !tokens("content-disposition").iter().any(|line| line.starts_with("attachment"))
    }
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let asked = vec(
        select(vec![
            ("range", "bytes=3-9"),
            ("if-none-match", "W/\"a\", \"b\""),
            ("if-none-match", "\"a\""),
            ("accept-encoding", "gzip"),
            ("accept", "text/html"),
        ]),
        0..3,
    );
    let status = select(vec![200, 200, 200, 200, 200, 404, 500, 101, 204, 205, 206, 304, 416]);
    let cuts = prop_oneof![Just(Vec::new()), vec(0..1001_usize, 0..9), Just((0..1000).step_by(4).collect())];
    let ends = select(vec![Ends::Plain, Ends::Plain, Ends::Trailers, Ends::Failed]);
    let method = select(vec![Method::GET, Method::GET, Method::GET, Method::HEAD, Method::POST]);
    (method, asked, status, lines(), page(), cuts, any::<bool>(), any::<bool>(), ends).prop_map(
        |(method, asked, status, lines, page, cuts, waits, is_exact, ends)| Exchange {
            method,
            asked,
            status,
            lines,
            page,
            cuts,
            waits,
            is_exact,
            ends,
        },
    )
}

fn page() -> impl Strategy<Value = Bytes> {
    let piece = select(vec![
        "<img src=\"http://h/a\">",
        "<img src=http://h:80/>",
        "<link href='http://h/' rel=stylesheet>",
        "<link href='http://h/'",
        "<style>@import url(http://h/x)",
        "</style>",
        "<script>\"<img src=http://h/>\"</script>",
        "<a href=\"http://h/\">",
        "<![CDATA[ <img src='http://h/'> ]]>",
        "<!-- http:// -->",
        "<img srcset=\"http://h/1 1x, http://h/2 2x",
        "\">",
        "\u{e9}",
        "ht",
        "tp://h/",
        "text ",
    ]);
    prop_oneof![
        4 => vec(piece, 0..12).prop_map(|pieces| Bytes::from(pieces.concat())),
        1 => vec(any::<u8>(), 0..40).prop_map(Bytes::from),
    ]
}

fn lines() -> impl Strategy<Value = Vec<(&'static str, Line)>> {
    let known = vec![
        ("content-encoding", "gzip"),
        ("content-encoding", "identity"),
        ("cache-control", "max-age=1, No-Transform"),
        ("cache-control", "no-store"),
        ("content-disposition", "attachment; filename=a"),
        ("content-disposition", "inline"),
        ("content-range", "bytes 0-1/2"),
        ("etag", "\"a\""),
        ("etag", "\"a\""),
        ("etag", "W/\"a\""),
        ("etag", "a"),
        ("accept-ranges", "bytes"),
        ("vary", "accept-encoding"),
        ("vary", "*"),
        ("link", "<http://h/>; rel=preload; imagesrcset=\"http://h/ 1x\""),
        ("content-security-policy", "img-src *"),
        ("content-type", "text/html"),
    ];
    let text = |(name, value): (&'static str, &'static str)| (name, Line::Bytes(value.into()));
    let odd = (
        select(vec![
            "etag",
            "vary",
            "cache-control",
            "content-encoding",
            "content-disposition",
            "link",
            "content-type",
            "content-security-policy",
            "content-md5",
        ]),
        vec(prop_oneof![0x20..0x7f_u8, 0x80..=0xff_u8, Just(b'\t')], 0..12),
    );
    let line = prop_oneof![
        6 => select(known).prop_map(text),
        1 => odd.prop_map(|(name, bytes)| (name, Line::Bytes(bytes.into()))),
        2 => Just(("content-length", Line::Length)),
        1 => select(vec!["content-md5", "digest", "content-digest", "repr-digest"]).prop_map(|name| (name, Line::Digest)),
    ];
    let html = select(vec![
        "text/html",
        "text/html",
        "Text/HTML; charset=UTF-8",
        "application/xhtml+xml;charset=\"shift_jis\"",
        "text/html; charset=utf-16",
        "text/htmlx",
        "image/png",
    ]);
    (html, vec(line, 0..6)).prop_map(move |(html, mut lines)| {
        lines.push(text(("content-type", html)));
        lines
    })
}
