use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::pool::Route;

/// A key of [`RouteCookie::opaque`](super::RouteCookie::opaque).
#[derive(Clone)]
pub(super) struct Key(Box<[u8]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(super) fn is_short(&self) -> bool {
        self.0.len() < 32
    }

    /// What names the member of this route.
    pub(super) fn token(&self, pool: &str, route: &Route) -> Option<String> {
        Some(hexadecimal(self.mac(["tower-proxied sticky-route 1", pool, route.as_str()])?))
    }

    /// [`token`](Self::token), and the dates with a seal on them.
    pub(super) fn dated_token(&self, pool: &str, route: &Route, dates: Dates) -> Option<String> {
        let dates = dates.to_string();
        let seal = self.seal(pool, route, &dates)?;
        Some(format!("{}.{dates}.{}", self.token(pool, route)?, hexadecimal(seal)))
    }

    fn is_sealed(&self, pool: &str, route: &Route, dated: &DatedToken<'_>) -> bool {
        let seal = || Some((self.seal(pool, route, dated.dates)?, dated.seal()?));
        seal().is_some_and(|(seal, given)| seal.verify_truncated_left(&given).is_ok())
    }

    fn seal(&self, pool: &str, route: &Route, dates: &str) -> Option<Hmac<Sha256>> {
        self.mac(["tower-proxied sticky-route dates 1", pool, route.as_str(), dates])
    }

    /// Neither a pool name nor a route holds a NUL, so that no two lists of parts read alike.
    pub(super) fn mac<const N: usize>(&self, parts: [&str; N]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        for (at, part) in parts.into_iter().enumerate() {
            if at > 0 {
                mac.update(b"\0");
            }
            mac.update(part.as_bytes());
        }
        Some(mac)
    }
}

const SEAL_BYTES: usize = 16;

/// 128 bits of it.
pub(super) fn hexadecimal(mac: Hmac<Sha256>) -> String {
    mac.finalize().into_bytes().iter().take(SEAL_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// `token.first.last.seal`, as [`Key::dated_token`] writes it. Nothing in it is to be believed before
/// [`dates`](Self::dates) checked the seal.
pub(super) struct DatedToken<'a> {
    pub(super) token: &'a [u8],
    dates: &'a str,
    seal: &'a [u8],
}

impl<'a> DatedToken<'a> {
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let (token, rest) = value.split_at_checked(2 * SEAL_BYTES)?;
        let (dates, seal) = rest.strip_prefix(b".")?.split_last_chunk::<{ 2 * SEAL_BYTES }>()?;
        Some(Self { token, dates: std::str::from_utf8(dates.strip_suffix(b".")?).ok()?, seal })
    }

    /// The dates, if one of the keys sealed them for this pool and route.
    pub(super) fn dates(&self, keys: &[Key], pool: &str, route: &Route) -> Option<Dates> {
        if !keys.iter().any(|key| key.is_sealed(pool, route, self)) {
            return None;
        }
        let (first, last) = self.dates.split_once('.')?;
        let date = |text: &str| u64::from_str_radix(text, 16).ok();
        Some(Dates { first: date(first), last: date(last) })
    }

    fn seal(&self) -> Option<[u8; SEAL_BYTES]> {
        from_hexadecimal(self.seal)
    }
}

/// What [`hexadecimal`] wrote; of no other length.
pub(super) fn from_hexadecimal(digits: &[u8]) -> Option<[u8; SEAL_BYTES]> {
    if digits.len() != 2 * SEAL_BYTES {
        return None;
    }
    let mut bytes = [0; SEAL_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        if pair.iter().any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// When a client was pinned, and when it last came: seconds since 1970 by the wall clock, since a monotonic one starts
/// anew on each host and at each boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dates {
    pub(super) first: Option<u64>,
    pub(super) last: Option<u64>,
}

impl fmt::Display for Dates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = |date: Option<u64>| date.map(|date| format!("{date:x}")).unwrap_or_default();
        write!(f, "{}.{}", date(self.first), date(self.last))
    }
}

/// How long a pin holds, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) max_idle: Option<u64>,
    pub(super) max_life: Option<u64>,
}

/// What limits make of dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Over,
    /// It holds, but the client is to get newer dates.
    Due,
    Fresh,
}

impl Limits {
    pub(super) fn are_none(self) -> bool {
        self.max_idle.is_none() && self.max_life.is_none()
    }

    /// Dates that are missing exceed no limit, so that a limit that is turned on logs nobody out.
    pub(super) fn age(self, dates: Dates, now: u64) -> Age {
        let Dates { first, last } = dates.believed(now);
        let age = |date: Option<u64>| date.map(|date| now.saturating_sub(date));
        let exceeds = |date, limit: Option<u64>| age(date).zip(limit).is_some_and(|(age, limit)| age > limit);
        if exceeds(first, self.max_life) || exceeds(last, self.max_idle) {
            return Age::Over;
        }
        let is_missing = |date: Option<u64>, limit: Option<u64>| date.is_some() != limit.is_some();
        let step = self.max_idle.map(|limit| (limit / IDLE_STEPS).max(1));
        let is_late = age(last).zip(step).is_some_and(|(age, step)| age >= step);
        if is_late || is_missing(first, self.max_life) || is_missing(last, self.max_idle) {
            Age::Due
        } else {
            Age::Fresh
        }
    }

    /// What a cookie of this moment says, whose pin is as old as `first`.
    pub(super) fn dates(self, first: Option<u64>, now: u64) -> Dates {
        let Dates { first, .. } = Dates { first, last: None }.believed(now);
        Dates { first: self.max_life.map(|_| first.unwrap_or(now)), last: self.max_idle.map(|_| now) }
    }
}

impl Dates {
    /// Clocks of several front ends differ a little; a date of a clock that was far wrong is none, so that setting a
    /// clock right logs nobody out.
    fn believed(self, now: u64) -> Self {
        let believed = |date: Option<u64>| date.filter(|date| *date <= now.saturating_add(DAY));
        Self { first: believed(self.first), last: believed(self.last) }
    }
}

/// A client that keeps coming gets a new date once in so many parts of the idle limit, not with each response.
const IDLE_STEPS: u64 = 60;

const DAY: u64 = 24 * 60 * 60;

/// What stands in cookies as time.
pub(super) struct WallClock(Box<dyn Fn() -> SystemTime + Send + Sync>);

impl WallClock {
    pub(super) fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Box::new(now))
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.0)()
    }

    pub(super) fn seconds(&self) -> u64 {
        self.now().duration_since(UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs)
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn route(name: &str) -> Route {
        Route::parse(name).unwrap()
    }

    #[test]
    fn tokens_are_those_of_every_front_end() {
        let key = Key::new(&[7; 32]);
        let token = |pool: &str, name: &str| key.token(pool, &route(name)).unwrap();
        // printf 'tower-proxied sticky-route 1\0shop\0http-1' | openssl dgst -sha256 -mac hmac -macopt hexkey:0707…
        assert_eq!(token("shop", "http-1"), "260cadc062886f694b16f4f49491b3f1");
        assert_ne!(token("shop", "http-1"), token("shop2", "http-1"));
        assert_ne!(token("shop", "http-1"), Key::new(&[8; 32]).token("shop", &route("http-1")).unwrap());
    }

    #[test]
    fn a_dated_token_is_the_token_and_sealed_dates() {
        let dates = Dates { first: Some(NOW), last: None };
        let token = Key::new(&[7; 32]).dated_token("shop", &route("http-1"), dates).unwrap();
        // The same with 'tower-proxied sticky-route dates 1\0shop\0http-1\06553f100.'
        assert_eq!(token, "260cadc062886f694b16f4f49491b3f1.6553f100..cae5e616d6f19b5573242adcb0737965");
    }

    #[test]
    fn a_seal_holds_for_its_key_pool_route_and_dates() {
        let keys = [Key::new(&[7; 32]), Key::new(&[8; 32])];
        let dates = Dates { first: Some(NOW), last: Some(NOW + 60) };
        let sealed = keys[1].dated_token("shop", &route("a"), dates).unwrap();
        let read = |text: &str, keys: &[Key], pool: &str, name: &str| {
            DatedToken::parse(text.as_bytes())?.dates(keys, pool, &route(name))
        };
        assert_eq!(read(&sealed, &keys, "shop", "a"), Some(dates));
        assert_eq!(read(&sealed, &keys[..1], "shop", "a"), None);
        assert_eq!(read(&sealed, &keys, "shop2", "a"), None);
        assert_eq!(read(&sealed, &keys, "shop", "b"), None);
        for forged in [
            sealed.replace("6553f100", "6553f101"),
            sealed.replace(".6553f100.", ".."),
            sealed.to_uppercase(),
            format!("{}+0", &sealed[..sealed.len() - 2]),
            format!("{sealed}0"),
            format!("{sealed}."),
            sealed[..sealed.len() - 1].to_owned(),
            sealed[..32].to_owned(),
            format!("{}.", &sealed[..32]),
            format!("{}é", &sealed[..sealed.len() - 2]),
        ] {
            assert_eq!(read(&forged, &keys, "shop", "a"), None, "{forged}");
        }
    }

    #[test]
    fn limits_hold_to_the_second() {
        let limits = Limits { max_idle: Some(1800), max_life: Some(28_800) };
        let age = |first: u64, last: u64| {
            limits.age(Dates { first: Some(NOW - first), last: Some(NOW - last) }, NOW)
        };
        assert_eq!(age(28_800, 0), Age::Fresh);
        assert_eq!(age(28_801, 0), Age::Over);
        assert_eq!(age(0, 29), Age::Fresh);
        assert_eq!(age(0, 30), Age::Due);
        assert_eq!(age(0, 1800), Age::Due);
        assert_eq!(age(0, 1801), Age::Over);
        let second = Limits { max_idle: Some(1), max_life: None };
        let last = |ago: u64| second.age(Dates { first: None, last: Some(NOW - ago) }, NOW);
        assert_eq!([last(0), last(1), last(2)], [Age::Fresh, Age::Due, Age::Over]);
    }

    #[test]
    fn a_clock_that_jumps_logs_nobody_out() {
        let limits = Limits { max_idle: Some(60), max_life: Some(120) };
        let at = |date: u64| Dates { first: Some(date), last: Some(date) };
        // Other front ends go a little ahead.
        assert_eq!(limits.age(at(NOW + 5), NOW), Age::Fresh);
        assert_eq!(limits.age(at(NOW + DAY), NOW), Age::Fresh);
        assert_eq!(limits.dates(Some(NOW + 5), NOW), Dates { first: Some(NOW + 5), last: Some(NOW) });
        // The clock was years ahead, and was set right.
        assert_eq!(limits.age(at(NOW + DAY + 1), NOW), Age::Due);
        assert_eq!(limits.dates(Some(NOW + DAY + 1), NOW), at(NOW));
        // A clock without a battery starts at 1970, or before.
        assert_eq!(limits.age(at(NOW), 0), Age::Due);
        let before = WallClock::new(|| UNIX_EPOCH - Duration::from_secs(9));
        assert_eq!(before.seconds(), 0);
    }

    #[test]
    fn dates_come_and_go_with_their_limits() {
        let both = Dates { first: Some(NOW - 9), last: Some(NOW) };
        let only_idle = Limits { max_idle: Some(1800), max_life: None };
        assert_eq!(Limits::default().age(both, NOW), Age::Due);
        assert_eq!(Limits::default().age(Dates::default(), NOW), Age::Fresh);
        assert_eq!(only_idle.age(both, NOW), Age::Due);
        assert_eq!(only_idle.age(Dates::default(), NOW), Age::Due);
        assert_eq!(only_idle.dates(both.first, NOW), Dates { first: None, last: Some(NOW) });
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_read(first: Option<u64>, last: Option<u64>, name in "[!-+.-:<-Z^-z]{1,95}") {
            prop_assume!(Route::parse(&name).is_ok());
            let key = Key::new(&[9; 32]);
            let dates = Dates { first, last };
            let text = key.dated_token("p", &route(&name), dates).unwrap();
            let dated = DatedToken::parse(text.as_bytes()).unwrap();
            let token = key.token("p", &route(&name)).unwrap();
            prop_assert_eq!(dated.token, token.as_bytes());
            prop_assert_eq!(dated.dates(&[key], "p", &route(&name)), Some(dates));
        }

        #[test]
        fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Some(dated) = DatedToken::parse(&value) {
                prop_assert_eq!(dated.dates(&[Key::new(&[9; 32])], "p", &route("a")), None);
            }
        }

        /// What was issued a moment ago is fresh, and what is fresh is not over a second later but at a limit.
        #[test]
        fn issued_dates_are_fresh(max_idle in prop::option::of(1..9999_u64), max_life in prop::option::of(1..9999_u64), first: Option<u64>, now: u64) {
            let limits = Limits { max_idle, max_life };
            let first = first.filter(|first| now.saturating_sub(*first) <= max_life.unwrap_or(u64::MAX));
            prop_assert_eq!(limits.age(limits.dates(first, now), now), Age::Fresh);
        }
    }
}
