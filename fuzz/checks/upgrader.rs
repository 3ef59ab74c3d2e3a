//! A page under a policy, in pieces.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use tower_proxied::force_https_body::{Targets, UpgradePolicy, Upgrader};
use tower_proxied::wire::host::HostPort;

thread_local!(static REPORTED: Cell<usize> = const { Cell::new(0) });

/// What comes out does not depend on the cuts, is as long as the reported changes make it, and does not change again.
///
/// The first byte chooses syntax and policy, the second one the pieces; the rest is the page.
pub fn upgrader(data: &[u8]) {
    let [chosen, step, page @ ..] = data else { return };
    let targets = match chosen & 2 {
        0 => Targets::DEFAULT,
        _ => Targets::FORM_ACTION | Targets::META_REFRESH | Targets::DATA_ATTRIBUTES | Targets::LINK_ANY_REL,
    };
    let max_hold = if chosen & 4 == 0 { 8192 } else { 40 };
    let policy = UpgradePolicy::new()
        .targets(targets)
        .max_hold(max_hold)
        .on_rewrite(|_| REPORTED.set(REPORTED.get() + 1));
    let silent = Arc::new(policy.clone().report_only());
    let policy = Arc::new(policy);
    let start = if chosen & 1 == 0 { Upgrader::new } else { Upgrader::xhtml };

    REPORTED.set(0);
    let whole = run(start(Arc::clone(&policy)), [page]);
    let reported = REPORTED.take();
    // A port that goes takes at least its three bytes with it.
    assert!(whole.len() <= page.len() + reported, "{}", page.escape_ascii());
    assert!(reported > 0 || whole == page, "{}", page.escape_ascii());
    if page.starts_with(b"\xfe\xff") || page.starts_with(b"\xff\xfe") {
        assert_eq!(whole, page, "UTF-16");
    }
    assert_eq!(run(start(silent), [page]), page, "{}", page.escape_ascii());
    assert_eq!(REPORTED.take(), reported, "{}", page.escape_ascii());
    assert_eq!(run(start(Arc::clone(&policy)), page.chunks(1)), whole, "{}", page.escape_ascii());

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
    // Beyond its bounds a URL is left alone: another that shrinks before it may bring it in.
    if whole.len() <= 1024 && max_hold > 1024 {
        assert_eq!(run(start(policy), [&whole[..]]), whole, "{}", page.escape_ascii());
    }
    REPORTED.set(0);
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
    out
}
