//! ForceHttpsBody's engine beside lol_html with the same targets, and beside what only passes over the bytes.
//!
//! `cargo bench --bench force_https`. All contenders read the same pages in the same rounds; the table shows MB/s by the
//! median round, and how many times as fast as lol_html ours is. Before anything is timed, the rewrites of both are
//! compared. The regex is the article's (rebuilt from its answers that the vectors record): it reads whole pages, and
//! it is wrong where the vectors say so.

mod support;

#[path = "force_https/corpus.rs"]
mod corpus;
#[path = "../tests/common/floods.rs"]
mod floods;
#[path = "force_https/lol.rs"]
mod lol;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Body;
use http_body_util::Full;
use regex::bytes::Regex;
use tower::{Layer, Service};
use tower_proxied::force_https_body::{
    ForceHttpsBody, ForceHttpsBodyLayer, UpgradePolicy, Upgrader, upgrade_fragment,
};

use self::floods::{DEEP, DEEP_FLOODS, deep, flood, floods};
use self::support::{interleaved, is_wanted};

fn main() {
    if !is_wanted() {
        return;
    }
    let mut kinds = vec![
        ("documentation", corpus::documentation()),
        ("long prose", corpus::prose()),
        ("shops, https", corpus::shops("https")),
        ("shops, http", corpus::shops("http")),
    ];
    let mixed = kinds.iter().flat_map(|(_, pages)| pages.iter().cloned()).collect();
    kinds.push(("mixed", mixed));
    for (kind, pages) in &kinds {
        compare(kind, pages);
    }
    for chunk in [16 * 1024, 1024] {
        println!("\nMB/s, chunks of {chunk} bytes");
        println!(
            "{:14} {:>8} {:>10} {:>8} {:>12} {:>10} {:>10} {:>10}",
            "", "ours", "lol_html", "times", "ours, whole", "regex", "memchr <", "memcpy"
        );
        for (kind, pages) in &kinds {
            streams(kind, pages, chunk);
        }
    }
    println!("\nMB/s, whole pages of a known length through the layer, nothing to change");
    println!("{:14} {:>8} {:>10} {:>8} {:>10} {:>10}", "", "ours", "lol_html", "times", "memchr <", "memcpy");
    for (kind, pages) in &kinds {
        clean_pages(kind, pages);
    }
    growth();
    depth();
    set_up();
}

/// Which elements and attributes each of the two changes, page by page.
fn compare(kind: &str, pages: &[Bytes]) {
    thread_local!(static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });
    let policy = Arc::new(UpgradePolicy::new().on_rewrite(|rewrite| {
        SEEN.with_borrow_mut(|seen| seen.push(format!("{} {}", rewrite.element, rewrite.attribute)));
    }));
    let (mut count, mut differences) = (0, BTreeMap::new());
    for page in pages {
        upgrade_fragment(std::str::from_utf8(page).unwrap(), &policy);
        let ours = SEEN.take();
        count += ours.len();
        let mut balance: BTreeMap<String, i64> = BTreeMap::new();
        ours.into_iter().for_each(|found| *balance.entry(found).or_default() += 1);
        lol::found(page).into_iter().for_each(|found| *balance.entry(found).or_default() -= 1);
        for (found, more) in balance.into_iter().filter(|(_, more)| *more != 0) {
            *differences.entry(found).or_insert(0) += more;
        }
    }
    let bytes: usize = pages.iter().map(Bytes::len).sum();
    println!(
        "{kind}: {} pages, {:.1} MB, {count} rewrites; more than lol_html: {differences:?}",
        pages.len(),
        bytes as f64 / 1e6
    );
    // Each shop has one image in `noscript`, which is text to lol_html.
    let expected = pages.iter().filter(|page| is_shop_over_http(page)).count();
    let expected = BTreeMap::from_iter((expected > 0).then_some(("img src".to_owned(), expected as i64)));
    assert_eq!(differences, expected, "{kind}");
}

fn is_shop_over_http(page: &[u8]) -> bool {
    memchr::memmem::find(page, b"<noscript><img src=\"http://").is_some()
}

fn streams(kind: &str, pages: &[Bytes], chunk: usize) {
    let policy = Arc::new(UpgradePolicy::new());
    let chunked: Vec<Vec<Bytes>> = pages
        .iter()
        .map(|page| {
            (0..page.len()).step_by(chunk).map(|at| page.slice(at..page.len().min(at + chunk))).collect()
        })
        .collect();
    let texts: Vec<&str> = pages.iter().map(|page| std::str::from_utf8(page).unwrap()).collect();
    let regex = Regex::new(r#"(?i)(<(?:img|script|link|input)\s[^>]*\b(?:src|href)=["'])http://"#).unwrap();
    let rates = rates(
        pages,
        [
            &|| {
                for page in &chunked {
                    let mut upgrader = Upgrader::new(Arc::clone(&policy));
                    for chunk in page {
                        black_box(upgrader.push(chunk.clone()));
                    }
                    black_box(upgrader.finish());
                }
            },
            &|| chunked.iter().for_each(|page| lol::rewrite(page)),
            &|| {
                for page in &texts {
                    black_box(upgrade_fragment(page, &policy));
                }
            },
            &|| {
                for page in pages {
                    black_box(regex.replace_all(page, &b"${1}https://"[..]));
                }
            },
            &|| pages.iter().for_each(|page| _ = black_box(memchr::memchr_iter(b'<', page).count())),
            &|| pages.iter().for_each(|page| _ = black_box(Bytes::copy_from_slice(page))),
        ],
    );
    let [ours, lol, whole, regex, memchr, memcpy] = rates;
    println!(
        "{kind:14} {ours:>8.0} {lol:>10.0} {:>7.1}x {whole:>12.0} {regex:>10.0} {memchr:>10.0} {memcpy:>10.0}",
        ours / lol
    );
}

fn clean_pages(kind: &str, pages: &[Bytes]) {
    let policy = UpgradePolicy::new();
    let is_clean = |page: &Bytes| {
        matches!(upgrade_fragment(std::str::from_utf8(page).unwrap(), &policy), std::borrow::Cow::Borrowed(_))
    };
    let pages: Vec<Bytes> =
        pages.iter().filter(|page| page.len() <= 64 * 1024 && is_clean(page)).cloned().collect();
    if pages.is_empty() {
        return;
    }
    let service = RefCell::new(ForceHttpsBodyLayer::new().secure_when(|_| true).layer(Pages));
    for page in &pages {
        assert_eq!(ask(&service, page).as_ptr(), page.as_ptr());
    }
    let rates = rates(
        &pages,
        [
            &|| pages.iter().for_each(|page| _ = black_box(ask(&service, page))),
            &|| pages.iter().for_each(|page| lol::rewrite(std::slice::from_ref(page))),
            &|| pages.iter().for_each(|page| _ = black_box(memchr::memchr_iter(b'<', page).count())),
            &|| pages.iter().for_each(|page| _ = black_box(Bytes::copy_from_slice(page))),
        ],
    );
    let [ours, lol, memchr, memcpy] = rates;
    println!(
        "{kind:14} {ours:>8.0} {lol:>10.0} {:>7.1}x {memchr:>10.0} {memcpy:>10.0}  ({} pages)",
        ours / lol,
        pages.len()
    );
}

/// What a response costs however short it is.
fn set_up() {
    let page = [Bytes::from_static(b"<p>a</p>\n")];
    let policy = Arc::new(UpgradePolicy::new());
    let [ours, lol] = interleaved([
        &|| {
            let mut upgrader = Upgrader::new(Arc::clone(&policy));
            black_box(upgrader.push(page[0].clone()));
            black_box(upgrader.finish());
        },
        &|| lol::rewrite(&page),
    ]);
    println!("\na page of 9 bytes: {ours:.0} ns, lol_html {lol:.0} ns: {:.0}x", lol / ours);
}

fn rates<const N: usize>(pages: &[Bytes], contenders: [&dyn Fn(); N]) -> [f64; N] {
    let bytes: usize = pages.iter().map(Bytes::len).sum();
    interleaved(contenders).map(|ns| bytes as f64 * 1e3 / ns)
}

/// Answers with the page that the request brings.
#[derive(Clone)]
struct Pages;

impl Service<Request<Bytes>> for Pages {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let mut response = Response::new(Full::new(request.into_body()));
        let html = header::HeaderValue::from_static("text/html");
        response.headers_mut().insert(header::CONTENT_TYPE, html);
        ready(Ok(response))
    }
}

fn ask(service: &RefCell<ForceHttpsBody<Pages>>, page: &Bytes) -> Bytes {
    let mut context = Context::from_waker(Waker::noop());
    let answer = pin!(service.borrow_mut().call(Request::new(page.clone()))).poll(&mut context);
    let Poll::Ready(Ok(response)) = answer else { panic!("no answer") };
    let mut body = response.into_body();
    match Pin::new(&mut body).poll_frame(&mut context) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap(),
        _ => panic!("no page"),
    }
}

fn read(policy: &Arc<UpgradePolicy>, page: &Bytes) {
    let mut upgrader = Upgrader::new(Arc::clone(policy));
    black_box(upgrader.push(page.clone()));
    black_box(upgrader.finish());
}

/// Twice the flood must take twice the time.
fn growth() {
    let policy = Arc::new(UpgradePolicy::new());
    let mut worst: Vec<_> = floods()
        .into_iter()
        .map(|(start, again)| {
            let pages = [1 << 16, 1 << 17].map(|len| Bytes::from(flood(&start, again, len)));
            let [half, whole] = interleaved([&|| read(&policy, &pages[0]), &|| read(&policy, &pages[1])]);
            (whole / half, pages[1].len() as f64 / whole * 1e3, start, again)
        })
        .collect();
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("\n128 KiB of a flood beside 64 KiB in the same rounds, the worst of {}", worst.len());
    for (times, speed, start, again) in worst.iter().take(5) {
        let start = &start[..start.len().min(60)];
        println!("{times:.2} times as long, {speed:.0} MB/s: {again:?} behind {start:?}");
    }
}

/// A tag behind many open elements must not take much longer than behind a few.
fn depth() {
    let policy = Arc::new(UpgradePolicy::new());
    let mut worst: Vec<_> = DEEP_FLOODS
        .iter()
        .map(|shape| {
            let pages = [4, DEEP].map(|depth| {
                let (start, again) = deep(*shape, depth);
                Bytes::from(flood(&start, again, 1 << 17))
            });
            let [few, many] = interleaved([&|| read(&policy, &pages[0]), &|| read(&policy, &pages[1])]);
            (many / few, pages[1].len() as f64 / many * 1e3, shape)
        })
        .collect();
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!(
        "\n128 KiB of a flood behind {DEEP} open elements beside behind 4, the worst of {}",
        worst.len()
    );
    for (times, speed, (start, opened, again)) in worst.iter().take(8) {
        println!("{times:.2} times as long, {speed:.0} MB/s: {again:?} behind {start:?} and many {opened:?}");
    }
}
