//! What ForceHttpsBody's engine takes from the heap: nothing for what does not change, one block for what does, and no
//! more for a part of a page that has no end.

mod counting;

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use tower_proxied::force_https_body::{UpgradePolicy, Upgrader, upgrade_fragment};

use self::counting::{Taken, peak, taken};

const NOTHING: Taken = Taken { allocations: 0, bytes: 0 };
const PIECE: usize = 16 * 1024;

#[test]
fn a_page_that_does_not_change() {
    let policy = Arc::new(UpgradePolicy::new());
    let head = "<!DOCTYPE html><title>a</title><style>p{a:url(/b)}</style>\
                <noscript><img src=/a></noscript>";
    let part = "<p class=a>http://text/ <a href=\"http://h/\">b</a><img src='https://h/a' srcset='/b 2x'>\
                <!-- http://h/ --><link rel=icon href=/c><p style='a:url(&quot;/d&quot;)'><style>@import 'https://h/'";
    let page =
        [head, &part.repeat(90), part, "</style><img alt='", part].map(|piece| Bytes::from(piece.to_owned()));
    // `Bytes` are made to be shared by the first clone.
    black_box(page.clone());
    let (cost, ()) = taken(|| {
        let mut upgrader = Upgrader::new(Arc::clone(&policy));
        for piece in &page {
            assert_eq!(black_box(upgrader.push(piece.clone())).len(), piece.len());
        }
        assert!(upgrader.finish().is_empty());
    });
    assert_eq!(cost, NOTHING);
    let (cost, _) = taken(|| black_box(upgrade_fragment("<p>a</p><img src=/b>", &policy)).len());
    assert_eq!(cost, NOTHING);
}

#[test]
fn the_first_svg_of_a_page() {
    // With a scheme it is read at once, with a title as more than a drawing.
    let svg = Bytes::from_static(b"<p>http:/<svg><title>a</title><path d='M0'/></svg></p>");
    let mut upgrader = Upgrader::new(UpgradePolicy::new());
    for allocations in [1, 0, 0] {
        assert_eq!(taken(|| black_box(upgrader.push(svg.clone()))).0.allocations, allocations);
    }
}

#[test]
fn a_piece_that_changes_costs_what_comes_out() {
    let policy = Arc::new(UpgradePolicy::new());
    let part = "<p class=a>b<img src='http://h:80/a' srcset='http://h/b 2x'><link rel=icon href=http://h/>\
                <p style='a:url(http://h/)'><link href=http://h/ rel=icon>\n";
    let piece = Bytes::from(part.repeat(50));
    let mut upgrader = Upgrader::new(policy);
    // The first one also makes the lists that are kept.
    let (first, _) = taken(|| upgrader.push(piece.clone()).len());
    println!("the first piece with upgrades: {first:?}");
    for _ in 0..4 {
        let (cost, len) = taken(|| black_box(upgrader.push(piece.clone())).len());
        assert_eq!(len, piece.len() + 50 * (5 - ":80".len()));
        assert_eq!(cost, Taken { allocations: 1, bytes: len });
    }
}

#[test]
fn a_url_that_is_cut_costs_no_more_than_two_pieces() {
    let mut upgrader = Upgrader::new(UpgradePolicy::new());
    for round in 0..4 {
        let (cost, ()) = taken(|| {
            black_box(upgrader.push(Bytes::from_static(b"<p>a <img src='htt")));
            black_box(upgrader.push(Bytes::from_static(b"p://h/'>")));
        });
        // Nothing is copied to hand on what stands before the URL.
        assert!(cost.allocations == 1 || round == 0, "{cost:?}");
    }
}

#[test]
fn parts_without_an_end() {
    const LEN: usize = 10 << 20;
    let mut rows = Vec::new();
    for (name, start, part, end, bound) in [
        ("data URL in src", "<img src='data:", "aHR0cDov", "'>", 0),
        ("path in src", "<img src='http://h/", "a/", "'>", PIECE + 1024),
        ("host in src", "<img src='http://", "a", "'>", 2 * 1024),
        ("references in src", "<img src='http:", "&#47;", "'>", 2 * 1024),
        ("any attribute", "<img alt='", "http://h/ ", "'>", 0),
        ("comment", "<!--", "http://h/ <img>-", "-->", 0),
        ("script", "<script>", "http://h/ <!-- </ ", "</script>", 0),
        ("style, clean", "<style>", "a{b:c(d);e:url(/f)}/* http:/ */", "</style>", 0),
        ("srcset, clean", "<img srcset='", "/a/b.png 1x, ", "'>", 0),
        ("name of a tag", "<", "img", ">", 0),
        ("name of an attribute", "<img ", "src", "=http://h/>", PIECE),
        ("attributes of a link", "<link href=http://h/ ", "a=b ", " rel=icon>", 2 * 8192),
        ("open svg", "<svg>", "<g>", "", 8 * 1024),
        ("svg in svg", "", "<svg>", "", 8 * 1024),
        ("html in svg", "<svg><desc>", "<p><b></p><object>", "", 32 * 1024),
        ("style", "<style>", "a{b:url(http://h/a/b.png)}", "</style>", 2 * PIECE + 2048),
        ("srcset", "<img srcset='", "http://h/a/b.png 1x, ", "'>", 2 * PIECE + 2048),
        ("imagesrcset", "<link imagesrcset='", "http://h/a/b.png 1x, ", "' rel=icon>", 3 * PIECE),
    ] {
        let page = pieces(start, part, end, LEN);
        let most = peak(|| {
            let mut upgrader = Upgrader::new(UpgradePolicy::new());
            // A piece that changes is dropped before the next one comes.
            page.iter().for_each(|piece| drop(upgrader.push(piece.clone())));
            drop(upgrader.finish());
        });
        rows.push((name, most, bound));
    }
    for (name, most, _) in &rows {
        println!("10 MB, {name}: at most {most} bytes of the heap");
    }
    for (name, most, bound) in rows {
        assert!(most <= bound + POLICY, "{name}: {most}");
    }
}

/// The policy itself is shared, and on the heap.
const POLICY: usize = 256;

/// `start`, then `part` as often as `len` says, then `end`.
fn pieces(start: &str, part: &str, end: &str, len: usize) -> Vec<Bytes> {
    let page = Bytes::from([start, &part.repeat(len / part.len()), end].concat());
    (0..page.len()).step_by(PIECE).map(|at| page.slice(at..page.len().min(at + PIECE))).collect()
}
