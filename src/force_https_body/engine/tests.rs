mod css;
mod foreign;
mod laws;

use super::scheme::scheme_at;
use super::*;
use crate::force_https_body::Hosts;
use crate::force_https_body::policy::Targets;

fn upgrade(page: &str) -> String {
    upgrade_fragment(page, &UpgradePolicy::new()).into_owned()
}

fn in_pieces<'a>(
    mut upgrader: Upgrader,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    max_held: usize,
) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&upgrader.push(Bytes::copy_from_slice(piece)));
        assert!(upgrader.engine.held.len() <= max_held, "{} bytes wait", upgrader.engine.held.len());
    }
    out.extend_from_slice(&upgrader.finish());
    assert!(upgrader.is_drained());
    out
}

#[test]
fn the_last_piece_is_read_once_another_follows() {
    let mut upgrader = Upgrader::new(UpgradePolicy::new());
    let mut read_after = |piece: &str| {
        assert_eq!(upgrader.push(Bytes::copy_from_slice(piece.as_bytes())), piece);
        assert!(upgrader.is_drained() && upgrader.engine.unread.len() <= MAX_UNREAD);
        upgrader.engine.tokenizer.position()
    };
    assert_eq!(read_after("<p>a"), 0);
    assert_eq!(read_after("<p>b</p>"), 4);
    assert_eq!(read_after("<p>pith"), 19);
    assert_eq!(read_after("<p>http:"), 27);
    assert_eq!(read_after(&"c".repeat(MAX_UNREAD + 1)), 27 + 16 * 1024 + 1);
    assert_eq!(read_after(&"c".repeat(MAX_UNREAD)), 27 + 16 * 1024 + 1);
    assert_eq!(upgrader.finish(), "");
    // A reference spells no letter of a scheme: what of it went out unread is not held any more.
    let mut upgrader = Upgrader::new(UpgradePolicy::new());
    for piece in ["<img src='htt&#11", "2", ";://h/'", "><img alt='http:'>"] {
        assert_eq!(upgrader.push(Bytes::from(piece)), piece);
    }
}

#[test]
fn schemes_at_every_place() {
    for scheme in ["http:/", "HTTP&", "hTtP\\", "htTp:\\", "http:&", "Http:\r"] {
        for len in 0..200 {
            for at in 0..=len {
                let page = format!("{}{scheme}{}", "p".repeat(at), "http".repeat(len - at));
                assert_eq!(scheme_at(page.as_bytes()), Some(at));
            }
        }
    }
    for before in 0..200 {
        // What follows it is not there yet.
        let page = format!("{}http:", "p".repeat(before));
        assert_eq!(scheme_at(page.as_bytes()), Some(before));
    }
    for page in [
        "http",
        "https:/",
        "htt:/",
        "xttp:/",
        "ht tp:",
        "http",
        "output: tp:/",
        "http;",
        "hXtp:/",
        "http::",
        "http:x",
    ] {
        assert_eq!(scheme_at(page.repeat(50).as_bytes()), None, "{page}");
    }
}

#[test]
fn a_link_waits_for_its_relation_and_no_longer() {
    let policy = Arc::new(UpgradePolicy::new().max_hold(40));
    let page =
        |filler: usize| format!("<link href=\"http://h/x\" title=\"{}\" rel=icon>", "a".repeat(filler));
    for filler in 0..40 {
        let page = page(filler);
        let whole = in_pieces(Upgrader::new(Arc::clone(&policy)), [page.as_bytes()], 40);
        let is_upgraded = whole.len() > page.len();
        // From the scheme to the `>` that ends the value of `rel`.
        assert_eq!(is_upgraded, page.len() - 1 - page.find("http").unwrap() <= 40, "{filler}");
        assert_eq!(in_pieces(Upgrader::new(Arc::clone(&policy)), page.as_bytes().chunks(1), 40), whole);
    }
}

/// Bounds of URLs (1,024) and of links (here 40), in pages that reach beyond both.
#[test]
fn no_more_is_held_than_the_bounds_say() {
    let policy = Arc::new(UpgradePolicy::new().max_hold(40));
    let long = |text: &str, count: usize| text.repeat(count);
    let mut most = 0;
    for (page, bound) in [
        (format!("<img src='http://{}/'>", long("a", 3000)), 1024),
        (format!("<img src='http:{}h/'>", long("/", 3000)), 1024),
        (format!("<img src='http:{}h/'>", long("&#47;", 900)), 1024),
        (format!("<img src='http://{}", long("&amp;", 900)), 1024),
        (format!("<img src='http://h:{}80/'>", long("0", 3000)), 1024),
        (format!("<img src='http:{}", long("\n", 3000)), 1024),
        (format!("<p style='a:url(http://{}", long("\\/", 900)), 1024),
        (format!("<style>@import 'http://{}';", long("a", 3000)), 1024),
        (format!("<img srcset='{}'>", long("http://h/ 1x,", 300)), 40),
        (format!("<link imagesrcset='{}' rel=icon>", long("http://h/ 1x,", 300)), 40),
        (format!("<link href=http://h/ {} rel=icon>", long("a=http://h/ ", 300)), 40),
        (format!("<link href=http://{}/ rel=icon>", long("a", 1000)), 1024),
        (format!("<{} src=http://h/>", long("img", 3000)), 40),
        (format!("<img {}=http://h/>", long("src", 3000)), 40),
        (format!("<!--{}-->", long("http://h/", 300)), 0),
        (format!("<img src=' {}http://h/'>", long(" ", 3000)), 40),
        (long("<svg>", 3000), 0),
    ] {
        for step in [1, 7, 1000, page.len()] {
            let mut upgrader = Upgrader::new(Arc::clone(&policy));
            for piece in page.as_bytes().chunks(step) {
                upgrader.push(Bytes::copy_from_slice(piece));
                let held = upgrader.engine.held.len();
                assert!(held <= bound, "{held} bytes wait of {}", &page[..40]);
                most = most.max(held);
                let rewriter = &upgrader.engine.rewriter;
                assert!(rewriter.waiting() <= 5, "{} URLs wait of {}", rewriter.waiting(), &page[..40]);
            }
        }
    }
    println!("at most {most} bytes waited");
}

/// Each URL of a link may be beyond the bound while the next one is not, in one piece as in many.
#[test]
fn of_many_urls_of_a_link_the_last_ones_are_upgraded() {
    let policy = Arc::new(UpgradePolicy::new().max_hold(30));
    let page = "<link imagesrcset='http://a/ 1x,http://b/ 2x,http://c/ 3x,' rel=icon>";
    let expected = page.replace("http://c", "https://c");
    for step in [1, 2, page.len()] {
        let out = in_pieces(Upgrader::new(Arc::clone(&policy)), page.as_bytes().chunks(step), 30);
        assert_eq!(out, expected.as_bytes());
    }
}

#[test]
fn a_giant_value_flows() {
    let mut upgrader = Upgrader::new(Arc::new(UpgradePolicy::new()));
    upgrader.push(Bytes::from_static(b"<img src=\"data:"));
    for _ in 0..100 {
        let piece = Bytes::from(vec![b'h'; 4096]);
        assert_eq!(upgrader.push(piece.clone()).as_ptr(), piece.as_ptr());
    }
    assert!(upgrader.is_drained());
}

#[test]
fn only_half_of_an_upgrade_is_none() {
    // The port is within the bound, the scheme is not.
    let policy = Arc::new(UpgradePolicy::new().max_hold(30));
    let page = format!("<link href=\"http://{}:80/\" rel=icon>", "h".repeat(20));
    assert_eq!(in_pieces(Upgrader::new(policy), page.as_bytes().chunks(1), 30), page.as_bytes());
}

#[test]
fn the_first_of_two_attributes_and_any_word_of_rel() {
    for page in [
        "<img src=http://h/ SRC=http://n/>",
        "<link rel='icon next' href=http://h/>",
        "<link href=http://h/ rel='x icon y'>",
    ] {
        assert_eq!(upgrade(page), page.replace("http://h", "https://h"));
    }
}

#[test]
fn nul_before_a_scheme_is_a_character_of_a_path() {
    for page in
        ["<img src=\"\0http://h/\">", "<img srcset='\0http://h/ 1x'>", "<style>a{b:url(\0http://h/)}</style>"]
    {
        assert_eq!(upgrade(page), page);
    }
    let page = "<img src='&#1; http://h/\t\n'>";
    assert_eq!(upgrade(page), page.replace("http:", "https:"));
}

#[test]
fn base_behind_one_that_is_not_in_the_page() {
    let page = "<template><base href=http://x/></template><base href=http://h/>";
    let upgrader = Upgrader::new(UpgradePolicy::new()).own_host(HostPort::parse(b"h").unwrap());
    let out = in_pieces(upgrader, [page.as_bytes()], 0);
    assert_eq!(String::from_utf8(out).unwrap(), page.replace("http://h", "https://h"));
}

#[test]
fn noscript_ends_in_any_state() {
    for inside in
        ["<!--", "<img alt=\"", "<style>", "<script><!--<script>", "<p title='</noscripts>", "<a </"]
    {
        let page = format!("<noscript>{inside}</NOSCRIPT\n><img src=http://h/>");
        assert_eq!(upgrade(&page), page.replace("http:", "https:"), "{page}");
    }
}

#[test]
fn opted_in() {
    let all = Targets::META_REFRESH | Targets::DATA_ATTRIBUTES;
    let policy = UpgradePolicy::new().targets(all);
    for (page, expected) in [
        (
            "<meta http-equiv=refresh content=\"5; URL='http://h/'\">",
            "<meta http-equiv=refresh content=\"5; URL='https://h/'\">",
        ),
        (
            "<meta content=\"0;http://h:80\" http-equiv=Refresh>",
            "<meta content=\"0;https://h\" http-equiv=Refresh>",
        ),
        ("<meta content=\"0;http://h/\">", "<meta content=\"0;http://h/\">"),
        ("<meta http-equiv=x content=\"0;http://h/\">", "<meta http-equiv=x content=\"0;http://h/\">"),
        ("<p data-lazy-source-of-the-image=http://h/>", "<p data-lazy-source-of-the-image=https://h/>"),
        ("<p data-srcset='http://h/ 1x, http://i/'>", "<p data-srcset='https://h/ 1x, https://i/'>"),
        (
            "<p data-flickity-lazyload-srcset='http://h/ 1x, http://i/'>",
            "<p data-flickity-lazyload-srcset='https://h/ 1x, https://i/'>",
        ),
    ] {
        assert_eq!(upgrade_fragment(page, &policy), expected);
    }
    assert_eq!(upgrade("<p data-src=http://h/>"), "<p data-src=http://h/>");
}

#[test]
fn own_host() {
    let page = "<base href=http://h:8443/><img src=http://i/>";
    let out = |policy, own: &[u8]| {
        let upgrader = Upgrader::new(Arc::new(policy)).own_host(HostPort::parse(own).unwrap());
        String::from_utf8(in_pieces(upgrader, [page.as_bytes()], 0)).unwrap()
    };
    assert_eq!(out(UpgradePolicy::new(), b"h"), "<base href=http://h:8443/><img src=https://i/>");
    assert_eq!(out(UpgradePolicy::new(), b"H:8443"), page.replace("http:", "https:"));
    assert_eq!(out(UpgradePolicy::new().hosts(Hosts::same()), b"i"), page.replace("http://i", "https://i"));
}

#[test]
fn a_host_that_is_told_late_loses_no_bytes() {
    let mut upgrader = Upgrader::new(UpgradePolicy::new());
    let before = upgrader.push(Bytes::from_static(b"<svg><title><img src=http://h/x><base href=ht"));
    let mut upgrader = upgrader.own_host(HostPort::parse(b"own.example").unwrap());
    let after = upgrader.push(Bytes::from_static(b"tp://own.example/></title><image href=http://h/ />"));
    let page = [before, after, upgrader.finish()].concat();
    assert_eq!(
        String::from_utf8(page).unwrap(),
        "<svg><title><img src=https://h/x><base href=https://own.example/></title><image href=https://h/ />"
    );

    let mut upgrader = Upgrader::new(UpgradePolicy::new().hosts(Hosts::same()));
    for (own, upgraded) in [("h", "<img src=https://h/>"), ("i", "<img src=http://h/>")] {
        upgrader = upgrader.own_host(HostPort::parse(own.as_bytes()).unwrap());
        assert_eq!(upgrader.push(Bytes::from_static(b"<img src=http://h/>")), upgraded);
    }
}

#[test]
fn what_follows_the_end_of_a_page_is_none_of_it() {
    let other = "<img src=http://h/>";
    for page in ["", "<p>", "<p>http:", "<img src=htt", "<img src=http://h"] {
        let mut upgrader = Upgrader::new(UpgradePolicy::new());
        let ended = [upgrader.push(Bytes::from(page)), upgrader.finish()].concat();
        assert_eq!(ended, page.as_bytes());
        assert_eq!(upgrader.push(Bytes::from(other)), other, "behind {page}");
        assert_eq!(upgrader.push(Bytes::from("<p>")), "<p>");
        assert!(upgrader.finish().is_empty() && upgrader.is_drained());
    }
}

#[test]
fn xhtml_has_no_raw_text() {
    let page = concat!(
        "<?xml version='1.0'?><!DOCTYPE html [<!ENTITY a '>'>]>",
        "<script src='http://h/'/><title><img src='http://h/'/></title><?x <img src='http://n/'> ?>",
        "<style><![CDATA[@import 'http://h/';]]></style><!-->--><img src='http://h/'/>",
    );
    let out = in_pieces(Upgrader::xhtml(Arc::new(UpgradePolicy::new())), [page.as_bytes()], 0);
    assert_eq!(String::from_utf8(out).unwrap(), page.replace("http://h", "https://h"));
}

#[test]
fn reports() {
    use std::cell::RefCell;
    thread_local!(static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });
    let policy = UpgradePolicy::new().report_only().on_rewrite(|rewrite| {
        let text = format!("{} {} {} {}", rewrite.element, rewrite.attribute, rewrite.host, rewrite.offset);
        SEEN.with_borrow_mut(|seen| seen.push(text));
    });
    let page =
        "<link href=http://H/ rel=icon><style>@import 'http://i:80';</style><img src=http://localhost>";
    assert!(matches!(upgrade_fragment(page, &policy), Cow::Borrowed(_)));
    SEEN.with_borrow(|seen| assert_eq!(*seen, ["link href h 11", "style  i 46"]));
    // Nothing waits where nothing changes.
    let mut upgrader = Upgrader::new(Arc::new(policy));
    assert_eq!(upgrader.push(Bytes::from_static(b"<img src=htt")), "<img src=htt");
}

#[test]
fn the_longest_relations() {
    for relation in FETCHED_RELATIONS {
        let relation = std::str::from_utf8(relation).unwrap();
        let page = format!("<link href=http://h/ rel={relation}><link rel='x {relation}' href=http://h/>");
        assert_eq!(upgrade(&page), page.replace("http:", "https:"));
    }
}

#[test]
fn what_is_not_found() {
    for page in [
        "<svg><g filter='url(http://h/#f)' mask=\"url('http://h/')\"/></svg>",
        "<iframe srcdoc='<img src=http://h/>'>",
    ] {
        assert_eq!(upgrade(page), page);
    }
    let page = "<svg:svg><svg:image href='http://h/'/></svg:svg>";
    assert_eq!(in_pieces(Upgrader::xhtml(UpgradePolicy::new()), [page.as_bytes()], 0), page.as_bytes());
}

#[test]
fn a_comma_inside_the_url_of_a_candidate_does_not_end_it() {
    for url in ["http://a,b", "http:///a,b", "http://a,bcd"] {
        let page = format!("<img srcset=\"{url} (, http://h.example/ )\">");
        assert_eq!(upgrade(&page), page);
    }
    for tail in ["\x01", "\x01\x04", "\x04,", "\x01,,"] {
        let page =
            format!("<img srcset=\"http://h{tail} 1x, http://h{tail}\"><img srcset=http://h:80{tail}>");
        assert_eq!(upgrade(&page), page.replace("http:", "https:").replace(":80", ""), "{tail:?}");
    }
    let other = "<img srcset=\"http://h,\x01 1x\">";
    assert_eq!(upgrade(other), other);
    let ends = "<img srcset=\"http://a, http://h.example/\">";
    assert_eq!(upgrade(ends), ends.replace("http:", "https:"));
}

#[test]
fn a_reference_to_a_control_character_of_a_host_is_another_character() {
    for reference in ["&#153;", "&#x99;", "&#x99", "&#128;"] {
        let page = format!("<img src=\"http://{reference}.example/\">");
        assert_eq!(upgrade(&page), page);
    }
}
