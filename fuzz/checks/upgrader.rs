//! A page under a policy, in pieces.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use tower_proxied::force_https_body::{Hosts, Ports, Rewrite, Targets, UpgradePolicy, Upgrader};
use tower_proxied::wire::host::HostPort;

thread_local!(static REPORTED: RefCell<Vec<Report>> = const { RefCell::new(Vec::new()) });

/// The place of the scheme, and the element, the attribute and the host.
type Report = (u64, [String; 3]);

fn report(rewrite: &Rewrite<'_>) {
    let names = [rewrite.element, rewrite.attribute, rewrite.host].map(str::to_owned);
    REPORTED.with_borrow_mut(|reported| reported.push((rewrite.offset, names)));
}

/// What comes out and what is reported does not depend on the cuts; what comes out is as long as the reported changes
/// make it, and does not change again.
///
/// The first byte chooses syntax and policy, the second one the pieces; the rest is the page.
pub fn upgrader(data: &[u8]) {
    let [chosen, step, page @ ..] = data else { return };
    let targets = match chosen & 2 {
        0 => Targets::DEFAULT,
        _ => Targets::FORM_ACTION | Targets::META_REFRESH | Targets::DATA_ATTRIBUTES | Targets::LINK_ANY_REL,
    };
    let max_hold = if chosen & 4 == 0 { 8192 } else { 40 };
    let quiet = match chosen & 8 {
        0 => UpgradePolicy::new(),
        _ => UpgradePolicy::new()
            .hosts(Hosts::same().allow([".h", "127.0.0.1"]).expect("hosts").deny(["a.h"]).expect("a host"))
            .ports(Ports::map([(8080, 8443), (8000, 443)]).expect("ports")),
    };
    let quiet = quiet.targets(targets).max_hold(max_hold);
    let policy = quiet.clone().on_rewrite(report);
    let silent = Arc::new(policy.clone().report_only());
    let policy = Arc::new(policy);
    let start = if chosen & 1 == 0 { Upgrader::new } else { Upgrader::xhtml };

    REPORTED.take();
    let whole = run(start(Arc::clone(&policy)), [page]);
    let reported = REPORTED.take();
    // A port that goes takes at least its three bytes with it.
    assert!(whole.len() <= page.len() + reported.len(), "{}", page.escape_ascii());
    assert!(!reported.is_empty() || whole == page, "{}", page.escape_ascii());
    for (offset, _) in &reported {
        let scheme = usize::try_from(*offset).ok().and_then(|at| page.get(at..)?.first_chunk::<4>());
        assert!(scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"http")), "{}", page.escape_ascii());
    }
    if page.starts_with(b"\xfe\xff") || page.starts_with(b"\xff\xfe") {
        assert_eq!(whole, page, "UTF-16");
    }
    assert_eq!(run(start(Arc::new(quiet)), [page]), whole, "{}", page.escape_ascii());
    assert_eq!(run(start(silent), [page]), page, "{}", page.escape_ascii());
    assert_eq!(REPORTED.take(), reported, "{}", page.escape_ascii());
    assert_eq!(run(start(Arc::clone(&policy)), page.chunks(1)), whole, "{}", page.escape_ascii());
    assert_eq!(REPORTED.take(), reported, "{}", page.escape_ascii());

    let mut rest = page;
    let mut step = usize::from(*step);
    let pieces = std::iter::from_fn(|| {
        step = (step * 5 + 3) % 31;
        let (piece, after) = rest.split_at_checked(step)?;
        rest = after;
        Some(piece)
    });
    let mut pieces: Vec<&[u8]> = pieces.collect();
    pieces.push(&page[pieces.iter().map(|piece| piece.len()).sum::<usize>()..]);
    assert_eq!(run(start(Arc::clone(&policy)), pieces), whole, "{}", page.escape_ascii());
    assert_eq!(REPORTED.take(), reported, "{}", page.escape_ascii());
    // Beyond its bounds a URL is left alone: another that shrinks before it may bring it in.
    if whole.len() <= 1024 && max_hold > 1024 {
        assert_eq!(run(start(policy), [&whole[..]]), whole, "{}", page.escape_ascii());
    }
    REPORTED.take();
}

fn run<'a>(upgrader: Upgrader, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut upgrader = upgrader.own_host(HostPort::parse(b"own.example").expect("a host"));
    let mut out = Vec::new();
    for piece in pieces {
        let piece = Bytes::copy_from_slice(piece);
        let ready = upgrader.push(piece.clone());
        if ready.len() == piece.len() && upgrader.is_drained() && ready == piece && out.is_empty() {
            assert_eq!(ready.as_ptr(), piece.as_ptr(), "the same bytes are handed on");
        }
        out.extend_from_slice(&ready);
    }
    out.extend_from_slice(&upgrader.finish());
    assert!(upgrader.is_drained());
    let other = Bytes::from_static(b"<img src=http://h/>");
    assert_eq!(upgrader.push(other.clone()), other, "it is behind the end of the page");
    out
}
