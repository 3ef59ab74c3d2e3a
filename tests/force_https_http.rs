//! What the head says, against a model of HTTP (RFC 9110), and against a shared cache (RFC 9111) that believes it.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Method, Request, header};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tower_proxied::Scheme;

use self::cache::Cache;
use self::origin::{Answer, Origin, Tags, date, is_strong};

#[path = "force_https_http/cache.rs"]
mod cache;
#[path = "force_https_http/origin.rs"]
mod origin;

fn config() -> ProptestConfig {
    ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_head_is_that_of_the_representation(
        origin in origin(), scheme in scheme(), method in select(vec![Method::GET, Method::HEAD]), lines in conditions(),
    ) {
        let ask = |method: &Method| {
            let mut request = Request::builder().method(method);
            for (name, value) in &lines {
                request = request.header(*name, value);
            }
            origin.ask(scheme, request.body(()).unwrap())
        };
        let answer = ask(&method);
        let is_secure = scheme == Scheme::Https;
        let is_own_version = is_secure && (origin.is_dirty || origin.streams || method == Method::HEAD);
        let held: Vec<_> = lines.iter().filter(|(name, _)| *name == "if-none-match").collect();
        let tag = answer.field(header::ETAG).map(str::to_owned);
        let weak = |tag: String| if is_strong(&tag) { format!("W/{tag}") } else { tag };
        match answer.status.as_u16() {
            200 => {
                let page = if is_secure { origin.upgraded() } else { origin.page() };
                prop_assert_eq!(&answer.body, if method == Method::HEAD { "" } else { &page });
                let is_true = |len: &str| len == page.len().to_string();
                prop_assert!(answer.field(header::CONTENT_LENGTH).is_none_or(is_true));
                prop_assert_eq!(answer.headers.contains_key(header::ACCEPT_RANGES), !is_own_version);
                prop_assert_eq!(answer.headers.contains_key("repr-digest"), !is_own_version);
                prop_assert_eq!(tag, if is_own_version { origin.tag().map(weak) } else { origin.tag() });
                prop_assert_eq!(answer.varies(), !is_secure || is_own_version);
                if method == Method::GET && !origin.streams {
                    prop_assert_eq!(answer.field(header::CONTENT_LENGTH).map(is_true), Some(true));
                }
            }
            304 => {
                prop_assert_eq!(&answer.body, "");
                let holds = |tag: &str| held.iter().any(|(_, tags)| tags.split(", ").any(|held| held == tag));
                let holds_changed = is_secure && origin.tags == Tags::Strong && holds("W/\"v1\"");
                let holds_same = !is_secure || origin.tags == Tags::Strong && holds("\"v1\"") && !holds_changed;
                prop_assert_eq!(tag, if holds_changed { origin.tag().map(weak) } else { origin.tag() });
                prop_assert_eq!(answer.headers.contains_key("repr-digest"), origin.tells_304 && holds_same);
                prop_assert_eq!(answer.varies(), origin.tells_304 || holds_changed);
            }
            206 => {
                let (start, whole) = answer.range().unwrap();
                prop_assert_eq!(whole, origin.page().len());
                prop_assert_eq!(&answer.body, &origin.page()[start..]);
                prop_assert!(answer.varies());
                if is_secure {
                    prop_assert!(lines.iter().all(|(name, value)| *name != "if-range" || is_strong(value) && value.ends_with('"')));
                    prop_assert!(answer.headers.get_all(header::CACHE_CONTROL).iter().any(|line| line == "no-store"));
                }
            }
            other => prop_assert!(false, "{}", other),
        }
        // HEAD is what GET would be of a page that is changed, but for what only the bytes tell.
        if origin.is_dirty || !is_secure {
            let (head, get) = (ask(&Method::HEAD), ask(&Method::GET));
            if head.status == get.status {
                for (name, value) in &head.headers {
                    let only_bytes_tell = origin.streams && name == header::CONTENT_LENGTH;
                    prop_assert!(only_bytes_tell || get.headers.get_all(name).iter().any(|line| line == value), "{}", name);
                }
            }
        }
    }

    #[test]
    fn no_cache_gives_a_secure_client_the_other_page_or_a_mixture(
        mut origin in origin(), events in vec(event(), 1..40),
    ) {
        let mut cache = Cache::default();
        let mut world = World::default();
        world.publish(&origin);
        for event in events {
            match event {
                Event::Publish(is_dirty) => {
                    origin = Origin { is_dirty, version: origin.version + 1, ..origin };
                    world.publish(&origin);
                }
                Event::Expire => cache.expire(),
                Event::BreakOff => cache.break_off(),
                Event::Ask { scheme, method, range } => {
                    let mut request = Request::builder().method(&method);
                    if let Some(start) = range {
                        request = request.header(header::RANGE, format!("bytes={start}-"));
                    }
                    let answer = cache.ask(&origin, scheme, request.body(()).unwrap());
                    world.check(&answer, scheme, &method)?;
                }
                Event::Resume { scheme, at } => {
                    let held = cache.ask(&origin, scheme, Request::new(()));
                    world.check(&held, scheme, &Method::GET)?;
                    let validator = held
                        .field(header::ETAG)
                        .filter(|tag| is_strong(tag))
                        .or_else(|| held.field(header::LAST_MODIFIED));
                    let Some(validator) = validator.filter(|_| at < held.body.len()) else { continue };
                    let request = Request::builder()
                        .header(header::RANGE, format!("bytes={at}-"))
                        .header(header::IF_RANGE, validator)
                        .body(())
                        .unwrap();
                    cache.expire();
                    let rest = cache.ask(&origin, scheme, request);
                    if rest.status == 206 {
                        let spliced: Bytes = [&held.body[..at], &rest.body].concat().into();
                        prop_assert!(world.pages(scheme).any(|page| *page == spliced), "a mixture: {:?}", spliced);
                    } else {
                        world.check(&rest, scheme, &Method::GET)?;
                    }
                }
            }
        }
    }
}

/// All that was ever published.
#[derive(Default)]
struct World {
    published: Vec<(Bytes, Bytes)>,
    by_strong_tag: HashMap<String, Bytes>,
}

impl World {
    fn publish(&mut self, origin: &Origin) {
        self.published.push((origin.page().into(), origin.upgraded().into()));
        if let Some(tag) = origin.tag().filter(|tag| is_strong(tag)) {
            self.by_strong_tag.insert(tag, origin.page().into());
        }
    }

    /// The pages that a client may get over that scheme.
    fn pages(&self, scheme: Scheme) -> impl Iterator<Item = &Bytes> {
        self.published.iter().map(move |(plain, secure)| if scheme == Scheme::Https { secure } else { plain })
    }

    fn check(&self, answer: &Answer, scheme: Scheme, method: &Method) -> Result<(), TestCaseError> {
        if *method == Method::HEAD {
            return Ok(());
        }
        if answer.status == 200 {
            prop_assert!(self.pages(scheme).any(|page| *page == answer.body), "{}: {:?}", scheme, answer);
        }
        // A strong tag names the same bytes, whoever asks.
        if let Some(page) = answer.field(header::ETAG).and_then(|tag| self.by_strong_tag.get(tag)) {
            let start = answer.range().map_or(0, |(start, _)| start);
            prop_assert_eq!(&page[start..], &answer.body, "{}", scheme);
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Event {
    Publish(bool),
    Expire,
    BreakOff,
    Ask {
        scheme: Scheme,
        method: Method,
        range: Option<usize>,
    },
    /// A client has half of the page, and asks for the rest.
    Resume {
        scheme: Scheme,
        at: usize,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let method = select(vec![Method::GET, Method::GET, Method::GET, Method::HEAD]);
    prop_oneof![
        2 => any::<bool>().prop_map(Event::Publish),
        2 => Just(Event::Expire),
        1 => Just(Event::BreakOff),
        8 => (scheme(), method, option::of(select(vec![0_usize, 0, 5, 25])))
            .prop_map(|(scheme, method, range)| Event::Ask { scheme, method, range }),
        3 => (scheme(), 1..40_usize).prop_map(|(scheme, at)| Event::Resume { scheme, at }),
    ]
}

fn scheme() -> impl Strategy<Value = Scheme> {
    select(vec![Scheme::Http, Scheme::Https])
}

fn origin() -> impl Strategy<Value = Origin> {
    let tags = select(vec![Tags::Strong, Tags::Strong, Tags::Weak, Tags::Absent]);
    let flags = any::<[bool; 4]>();
    (tags, flags).prop_map(|(tags, [has_dates, streams, tells_304, is_dirty])| Origin {
        tags,
        has_dates,
        streams,
        tells_304,
        is_dirty,
        version: 1,
    })
}

fn conditions() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let tags =
        ["\"v1\"", "W/\"v1\"", "\"v0\", W/\"v1\"", "\"v1\", W/\"v1\"", "\"v0\"", "*"].map(str::to_owned);
    let validators =
        ["\"v1\"", "W/\"v1\"", "\"v0\""].map(str::to_owned).into_iter().chain([date(0), date(1)]);
    (
        option::of(select(tags.to_vec())),
        option::of(select(vec![date(0), date(1)])),
        option::of(select(vec![0, 9])),
        option::of(select(validators.collect::<Vec<_>>())),
    )
        .prop_map(|(none_match, since, range, if_range)| {
            let if_range = if_range.filter(|_| range.is_some());
            let range = range.map(|start| format!("bytes={start}-"));
            [
                ("if-none-match", none_match),
                ("if-modified-since", since),
                ("range", range),
                ("if-range", if_range),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
        })
}
