//! `Cookie` and `Set-Cookie` lines, cut and joined the naive way.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderValue, Request, Response, header};
use tower::Service;
use tower_proxied::sticky_route::{Member, RequestBody, RouteCookie, StickyRoute};
use tower_proxied::wire::cookie::{Change, SetCookie, changed, unquoted, values};

use super::reference::trim;

const NAME: &[u8] = b"R";

/// Cookies are found, taken out and given another value as the naive twin does it, a pin that is put in anywhere is
/// taken out without a trace, and a member sees no pin.
///
/// The first byte says where a pin is put, each line behind it is a line of `Cookie`, and of `Set-Cookie`.
pub fn cookie(data: &[u8]) {
    let Some((place, lines)) = data.split_first() else { return };
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').take(20).collect();
    let mut headers = HeaderMap::new();
    for line in &lines {
        one_line(line);
        with_a_pin(line, usize::from(*place));
        set_cookie(line);
        if let Ok(line) = HeaderValue::from_bytes(line) {
            headers.append(header::COOKIE, line);
        }
    }
    let found: Vec<&[u8]> = values(&headers, NAME).collect();
    let naive: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| pairs(line.as_bytes()))
        .filter_map(|(_, pair)| pair)
        .filter(|(name, _)| *name == NAME)
        .map(|(_, value)| value)
        .collect();
    assert_eq!(found, naive, "{headers:?}");
    a_member_sees_no_pin(headers);
}

/// Name and value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// The parts between semicolons, and what they say.
fn pairs(line: &[u8]) -> Vec<(&[u8], Option<Pair<'_>>)> {
    let pair = |part| {
        let equals = part_before(part, b'=').filter(|before| before.len() < part.len())?;
        Some((trim(equals), trim(&part[equals.len() + 1..])))
    };
    line.split(|byte| *byte == b';').map(|part| (part, pair(part))).collect()
}

fn part_before(part: &[u8], mark: u8) -> Option<&[u8]> {
    part.split(|byte| *byte == mark).next()
}

fn is_pin(pair: Option<Pair<'_>>) -> bool {
    pair.is_some_and(|(name, _)| name == NAME)
}

fn one_line(line: &[u8]) {
    let parts = pairs(line);
    let has_pin = parts.iter().any(|(_, pair)| is_pin(*pair));
    assert_eq!(changed(line, NAME, |_| Change::Keep), None);

    let kept: Vec<&[u8]> = parts.iter().filter(|(_, pair)| !is_pin(*pair)).map(|(part, _)| *part).collect();
    let mut left = kept.join(&b';');
    if parts.first().is_some_and(|(_, pair)| is_pin(*pair)) {
        left = left[left.iter().take_while(|byte| b" \t".contains(byte)).count()..].to_vec();
    }
    if trim(&left).is_empty() {
        left.clear();
    }
    let removed = changed(line, NAME, |_| Change::Remove);
    assert_eq!(removed, has_pin.then_some(left), "{}", line.escape_ascii());

    let longer = changed(line, NAME, |value| Change::Value([value, b".x"].concat()));
    assert_eq!(longer.is_some(), has_pin);
    if let Some(longer) = longer {
        let other = pairs(&longer);
        assert_eq!(parts.len(), other.len(), "{}", line.escape_ascii());
        for ((part, pair), (other, other_pair)) in parts.iter().zip(other) {
            match pair {
                Some((name, value)) if *name == NAME => {
                    assert_eq!(other_pair, Some((NAME, &[value, &b".x"[..]].concat()[..])));
                    assert_eq!(other.len(), part.len() + 2);
                }
                _ => assert_eq!(*part, other),
            }
        }
    }
}

fn with_a_pin(line: &[u8], place: usize) {
    let parts: Vec<&[u8]> = pairs(line).into_iter().map(|(part, _)| part).collect();
    if trim(line).is_empty()
        || trim(line).len() < line.len()
        || pairs(line).iter().any(|(_, pair)| is_pin(*pair))
    {
        return;
    }
    let at = place % (parts.len() + 1);
    let mut with: Vec<&[u8]> = parts.clone();
    with.insert(at, [&b" R=x"[..], b"R=\"x\"", b" R = x "][place / 64 % 3]);
    // The part that was the first one begins with a blank now, as browsers write it.
    let behind_the_first = [b" ", parts[0]].concat();
    if at == 0 {
        with[1] = &behind_the_first;
    }
    assert_eq!(
        changed(&with.join(&b';'), NAME, |_| Change::Remove).as_deref(),
        Some(line),
        "{}",
        line.escape_ascii()
    );
}

fn set_cookie(line: &[u8]) {
    let Some(cookie) = SetCookie::parse(line) else {
        return assert!(!part_before(line, b';').is_some_and(|pair| pair.contains(&b'=')));
    };
    assert_eq!(pairs(line)[0].1, Some((cookie.name, cookie.value)));
    assert_eq!(cookie.with_value(cookie.value), line);
    let other = cookie.with_value(b"y.z");
    assert_eq!(
        SetCookie::parse(&other).map(|other| (other.name, other.value)),
        Some((cookie.name, &b"y.z"[..]))
    );
    assert_eq!(pairs(&other)[1..], pairs(line)[1..]);
    let now = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    assert!(cookie.is_deletion(now) || !unquoted(cookie.value).is_empty());
}

#[derive(Clone, Default)]
struct Sees(Arc<Mutex<HeaderMap>>);

impl Service<Request<RequestBody<()>>> for Sees {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<()>>) -> Self::Future {
        *self.0.lock().expect("nobody panics with it") = request.headers().clone();
        ready(Ok(Response::new(())))
    }
}

fn a_member_sees_no_pin(headers: HeaderMap) {
    let sees = Sees::default();
    let mut sticky = StickyRoute::builder("fuzz")
        .member(Member::new("a", sees.clone()))
        .cookie(RouteCookie::opaque([[1; 32]]).name("R"))
        .build()
        .expect("it is well configured");
    let mut request = Request::new(());
    *request.headers_mut() = headers.clone();
    let Poll::Ready(Ok(response)) = pin!(sticky.call(request)).poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("nothing here waits")
    };
    assert!(response.headers().contains_key(header::SET_COOKIE), "nobody guesses a token");
    let seen = sees.0.lock().expect("nobody panics with it").clone();
    assert_eq!(values(&seen, NAME).count(), 0, "{headers:?}");
    let others = |headers: &HeaderMap| -> Vec<Vec<u8>> {
        let lines = headers.get_all(header::COOKIE);
        let parts = lines.iter().flat_map(|line| pairs(line.as_bytes()));
        let is_other = |(part, pair): &(&[u8], _)| !is_pin(*pair) && !trim(part).is_empty();
        parts.filter(is_other).map(|(part, _)| trim(part).to_vec()).collect()
    };
    assert_eq!(others(&seen), others(&headers), "{headers:?}");
}
