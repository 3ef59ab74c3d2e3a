//! ForceHttpsBody's engine against what browsers, by their parsers, make of the same page.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use tower::{Layer, ServiceExt};
use tower_proxied::ForceHttpsBodyLayer;
use tower_proxied::force_https_body::{UpgradePolicy, Upgrader};
use tower_proxied::wire::host::HostPort;

use self::dom::{Scripting, dom};
use self::lol::Found;
use self::twin::{OWN_HOST, Urls};

#[path = "force_https_conformance/corpus.rs"]
mod corpus;
#[path = "force_https_conformance/dom.rs"]
mod dom;
#[path = "common/floods.rs"]
mod floods;
#[path = "force_https_conformance/limits.rs"]
mod limits;
#[path = "force_https_conformance/lol.rs"]
mod lol;
#[path = "force_https_conformance/pages.rs"]
mod pages;
#[path = "force_https_conformance/stack.rs"]
mod stack;
#[path = "force_https_conformance/twin.rs"]
mod twin;
#[path = "force_https_conformance/xhtml.rs"]
mod xhtml;

fn upgrade<'a>(upgrader: Upgrader, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut upgrader = upgrader.own_host(HostPort::parse(OWN_HOST.as_bytes()).unwrap());
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&upgrader.push(Bytes::copy_from_slice(piece)));
    }
    out.extend_from_slice(&upgrader.finish());
    assert!(upgrader.is_drained());
    String::from_utf8(out).unwrap()
}

/// What the engine finds on a page, as it reports it.
fn found(page: &str) -> Vec<Found> {
    thread_local!(static SEEN: RefCell<Vec<(Found, u64)>> = const { RefCell::new(Vec::new()) });
    let policy = UpgradePolicy::new().on_rewrite(|rewrite| {
        let found = Found {
            element: rewrite.element.to_owned(),
            attribute: rewrite.attribute.to_owned(),
            key: rewrite.host.to_lowercase(),
        };
        SEEN.with_borrow_mut(|seen| seen.push((found, rewrite.offset)));
    });
    upgrade(Upgrader::new(policy), [page.as_bytes()]);
    let of_css = |found: &Found| found.attribute.is_empty() || found.attribute == "style";
    let seen = SEEN.take().into_iter().map(|(found, at)| {
        let key = if of_css(&found) { found.key.clone() } else { at.to_string() };
        Found { key, ..found }
    });
    let mut seen: Vec<Found> = seen.collect();
    seen.sort();
    seen
}

/// Why lol_html does not find what we find.
fn explain(page: &str, found: &Found) -> Option<&'static str> {
    let at = found.key.parse::<usize>().ok();
    if found.key == "pixel.shop.example" || at.is_some_and(|at| is_in_noscript(&page[..at])) {
        return Some("the content of noscript is raw text to lol_html");
    }
    if at.is_some_and(|at| page[at + 4..].starts_with('&')) {
        return Some("lol_html does not decode references");
    }
    None
}

fn is_in_noscript(before: &str) -> bool {
    before.matches("<noscript").count() > before.matches("</noscript").count()
}

fn differs_from_lol_html(most: usize) {
    let mut pages = corpus::generated();
    pages.extend(corpus::installed(most));
    let (mut count, mut bytes, mut same) = (0, 0, 0);
    let mut explained = BTreeMap::new();
    for (name, page) in pages {
        // As it is, and as it would be with absolute URLs.
        let absolute =
            page.replace("src=\"", "src=\"http://h.example/").replace("href=\"", "href=\"http://h.example/");
        for page in [page, absolute] {
            let (ours, mut theirs) = (found(&page), lol::found(&page));
            for found in ours {
                if let Some(at) = theirs.iter().position(|other| *other == found) {
                    theirs.swap_remove(at);
                    same += 1;
                } else if let Some(reason) = explain(&page, &found) {
                    *explained.entry(reason).or_insert(0) += 1;
                } else {
                    panic!("{name}: lol_html does not find {found:?}");
                }
            }
            assert!(theirs.is_empty(), "{name}: only lol_html finds {theirs:?}");
            (count, bytes) = (count + 1, bytes + page.len());
        }
    }
    println!("{count} pages, {bytes} bytes: {same} rewrites as with lol_html; besides: {explained:?}");
    assert!(same > 1_000, "{same}");
}

#[test]
fn rewrites_are_those_of_lol_html() {
    differs_from_lol_html(500_000);
}

#[test]
#[ignore = "takes minutes without optimisation"]
fn rewrites_are_those_of_lol_html_on_all_that_is_installed() {
    differs_from_lol_html(50_000_000);
}

fn html() -> Upgrader {
    Upgrader::new(UpgradePolicy::new())
}

/// The engine reads a page as a browser with scripts does, and the content of `noscript` as markup. Where that content
/// swallows its end tag for a browser without scripts (`<noscript><p a="</noscript>..`), the two read all the rest
/// differently, and no single output is right for both.
fn assert_tree_is_upgraded(page: &str) {
    let out = upgrade(html(), [page.as_bytes()]);
    let is_upgraded =
        |scripting| dom(&out, scripting, Urls::AsWritten) == dom(page, scripting, Urls::Upgraded);
    assert!(is_upgraded(Scripting::On), "{}", difference(page, &out, Scripting::On));
    let written = |scripting| dom(page, scripting, Urls::AsWritten);
    assert!(
        is_upgraded(Scripting::Off) || written(Scripting::On) != written(Scripting::Off),
        "{}",
        difference(page, &out, Scripting::Off)
    );
}

fn difference(page: &str, out: &str, scripting: Scripting) -> String {
    let (seen, due) = (dom(out, scripting, Urls::AsWritten), dom(page, scripting, Urls::Upgraded));
    let first = seen.iter().zip(&due).find(|(seen, due)| seen != due);
    format!("scripting {scripting:?}\nin   {page:?}\nout  {out:?}\nseen, due {first:?}")
}

#[test]
fn a_noscript_that_swallows_its_end_is_read_as_with_scripts() {
    assert_tree_is_upgraded(
        "<noscript><style hidden= \"></style></noscript><svg><math><mo src=\"\"><iframe>\
         <img src=http://h.example/></iframe></mo></math></svg>",
    );
}

/// The few thousand pages of every run are always the same; many runs of new ones are to be asked for.
fn config(cases: u32, rng_seed: RngSeed) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

fn laws(cases: u32, rng_seed: RngSeed) {
    let (judged, spared) = (Cell::new(0), RefCell::new(BTreeMap::new()));
    proptest!(config(cases, rng_seed), |(page in pages::page(), cuts in prop::collection::vec(any::<Index>(), 0..4))| {
        match limits::of(&page) {
            Some(limit) => *spared.borrow_mut().entry(limit).or_insert(0) += 1,
            None => {
                judged.set(judged.get() + 1);
                assert_tree_is_upgraded(&page);
            }
        }
        let whole = upgrade(html(), [page.as_bytes()]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(page.len() + 1)).collect();
        cuts.extend([0, page.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &page.as_bytes()[cut[0]..cut[1]]);
        prop_assert_eq!(&upgrade(html(), pieces), &whole, "cut at {:?}", cuts);
        prop_assert_eq!(&upgrade(html(), page.as_bytes().chunks(1)), &whole, "byte by byte");
        prop_assert_eq!(&upgrade(html(), [whole.as_bytes()]), &whole, "twice");
        prop_assert_eq!(plain(&page), page);
    });
    println!(
        "{cases} pages, whole, cut, byte by byte, twice, and over plain http; {} as trees, with scripting on and off; \
         the others: {:?}",
        judged.get(),
        spared.into_inner()
    );
    assert!(judged.get() > cases / 10 * 9, "{}", judged.get());
}

/// What the layer makes of a page that goes out over plain http.
fn plain(page: &str) -> String {
    let layer = ForceHttpsBodyLayer::new().secure_when(|_| false);
    let body = Full::new(Bytes::copy_from_slice(page.as_bytes()));
    let mut response = Some(Response::builder().header("content-type", "text/html").body(body).unwrap());
    let service = layer.layer(tower::service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(response.take().unwrap()))
    }));
    let serve =
        async { service.oneshot(Request::new(())).await.unwrap().into_body().collect().await.unwrap() };
    let Poll::Ready(body) = pin!(serve).poll(&mut Context::from_waker(Waker::noop())) else {
        unreachable!("nothing here waits")
    };
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

#[test]
fn the_tree_of_the_output_is_the_upgraded_tree() {
    laws(1_024, RngSeed::Fixed(1));
}

#[test]
#[ignore = "takes minutes without optimisation"]
fn the_tree_of_the_output_is_the_upgraded_tree_a_hundred_thousand_times() {
    laws(100_000, RngSeed::Random);
}

fn xhtml_laws(cases: u32, rng_seed: RngSeed) {
    proptest!(config(cases, rng_seed), |(page in xhtml::page())| {
        prop_assume!(!limits::has_escaped_keyword(&page));
        let upgrader = || Upgrader::xhtml(UpgradePolicy::new());
        let out = upgrade(upgrader(), [page.as_bytes()]);
        let (seen, due) = (xhtml::events(&out, Urls::AsWritten), xhtml::events(&page, Urls::Upgraded));
        if let Some((seen, due)) = seen.iter().zip(&due).find(|(seen, due)| seen != due) {
            panic!("\nin   {page:?}\nout  {out:?}\nseen {seen}\ndue  {due}");
        }
        prop_assert_eq!(seen.len(), due.len());
        prop_assert_eq!(&upgrade(upgrader(), page.as_bytes().chunks(1)), &out, "byte by byte");
        prop_assert_eq!(&upgrade(upgrader(), [out.as_bytes()]), &out, "twice");
    });
    println!("{cases} XHTML pages");
}

#[test]
fn the_events_of_xhtml_output_are_the_upgraded_events() {
    xhtml_laws(1_024, RngSeed::Fixed(1));
}

#[test]
#[ignore = "takes minutes without optimisation"]
fn the_events_of_xhtml_output_are_the_upgraded_events_a_hundred_thousand_times() {
    xhtml_laws(100_000, RngSeed::Random);
}

/// The vector `split-all`, with what html5ever makes of its last element.
#[test]
fn an_image_in_the_title_of_an_svg_is_an_img() {
    let page = concat!(
        "<p a=\"1\">t</p><!-- c --><script>if(a<b){}</script><style>a{b:url(http://h/a)}</style>",
        "<link href=http://h/c rel=stylesheet><img alt=\"\u{e9}>\" srcset=\"http://h/1 1x, http://h/2 2x\" ",
        "src='HTTP://h:80/x'><![CDATA[ > ]]><svg><title><image href=\"http://h/y\"/></title></svg>",
    );
    let tree = dom(page, Scripting::Off, Urls::AsWritten);
    assert!(
        tree.iter().any(|line| line.trim() == "<http://www.w3.org/1999/xhtml img href=\"http://h/y\""),
        "{tree:?}"
    );
    let expected = page
        .replace("url(http:", "url(https:")
        .replace("href=http:", "href=https:")
        .replace("http://h/1", "https://h/1")
        .replace("http://h/2", "https://h/2")
        .replace("HTTP://h:80", "https://h");
    assert_tree_is_upgraded(page);
    for at in 0..=page.len() {
        let (start, rest) = page.as_bytes().split_at(at);
        assert_eq!(upgrade(html(), [start, rest]), expected, "cut at {at}");
    }
    assert_eq!(upgrade(html(), page.as_bytes().chunks(1)), expected);
}

/// The tokenizer reads runs at once, and finds the same in single bytes. How time grows with these pages is in
/// `benches/force_https.rs`.
#[test]
fn floods_come_out_as_byte_by_byte() {
    for (start, again) in floods::floods() {
        let page = floods::flood(&start, again, 1 << 14);
        assert_eq!(upgrade(html(), [&*page]), upgrade(html(), page.chunks(1)), "{again} behind {start}");
    }
}
