//! The head of a URL, from its scheme to the end of its authority (URL Standard, section 4.4).

use std::borrow::Cow;
use std::net::Ipv4Addr;

use super::reference::Unit;
use super::{distance, offset};
use crate::wire::host::{Host, HostName};
use crate::wire::text::percent_bytes;

/// The bytes from the scheme to the end of the authority; a longer URL is left alone.
const MAX_HEAD: u64 = 1024;

/// Reads the head of one URL as it arrives, and knows from where on it is undecided.
///
/// Wanted is what a browser reads as an absolute `http` URL: any white space and control characters, the four
/// letters, `:`, and two slashes of either kind. With fewer slashes the URL is relative to an https page.
#[derive(Debug, Default)]
pub(super) struct UrlScan {
    state: State,
    start: u64,
    /// Decoded, and without what a URL parser drops.
    authority: Vec<u8>,
    host_at: usize,
    colon: Option<Colon>,
    is_in_brackets: bool,
}

#[derive(Clone, Copy, Debug)]
struct Colon {
    index: usize,
    start: u64,
    /// The end of the last digit behind it.
    end: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    Lead,
    Scheme(usize),
    Slashes(u8),
    Authority,
    #[default]
    Decided,
}

/// An `http` URL with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) scheme_at: u64,
    pub(super) port: UrlPort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::force_https_body) enum UrlPort {
    Absent,
    /// Written from `start` to `end`, with its colon.
    Written {
        port: u16,
        start: u64,
        end: u64,
    },
}

impl UrlScan {
    pub(super) fn begin(&mut self) {
        self.state = State::Lead;
        self.authority.clear();
        (self.host_at, self.colon, self.is_in_brackets) = (0, None, false);
    }

    pub(super) fn abandon(&mut self) {
        self.state = State::Decided;
    }

    pub(super) fn is_decided(&self) -> bool {
        self.state == State::Decided
    }

    /// The first byte that must wait for what comes.
    pub(super) fn undecided_from(&self) -> Option<u64> {
        (!matches!(self.state, State::Lead | State::Decided)).then_some(self.start)
    }

    /// Nothing is undecided for longer than [`MAX_HEAD`].
    pub(super) fn release(&mut self, at: u64) {
        if self.undecided_from().is_some_and(|start| at.saturating_sub(start) > MAX_HEAD) {
            self.abandon();
        }
    }

    pub(super) fn feed(&mut self, unit: Unit) -> Option<Head> {
        self.release(unit.end);
        match self.state {
            State::Lead => match unit.byte {
                byte if is_around(byte) => {}
                b'h' | b'H' if unit.is_literal() => (self.state, self.start) = (State::Scheme(1), unit.start),
                _ => self.abandon(),
            },
            State::Scheme(matched) => match b"http:".get(matched) {
                Some(b':') if unit.byte == b':' => self.state = State::Slashes(0),
                Some(letter) if unit.is_literal() && unit.byte.to_ascii_lowercase() == *letter => {
                    self.state = State::Scheme(matched.saturating_add(1));
                }
                _ => self.abandon(),
            },
            State::Slashes(seen) => match unit.byte {
                b'/' | b'\\' => self.state = State::Slashes(seen.saturating_add(1)),
                byte if is_dropped(byte) => {}
                _ if seen < 2 => self.abandon(),
                _ => {
                    self.state = State::Authority;
                    return self.read_authority(unit);
                }
            },
            State::Authority => return self.read_authority(unit),
            State::Decided => {}
        }
        None
    }

    /// Reads what is plainly of a scheme or a host, at `at`, and says how many bytes.
    pub(super) fn skip(&mut self, bytes: &[u8], at: u64) -> usize {
        const SCHEME: &[u8] = b"http://";
        let scheme = match self.state {
            State::Lead => SCHEME,
            State::Scheme(matched) => SCHEME.get(matched..).unwrap_or_default(),
            State::Authority if self.colon.is_none() => &[],
            _ => return 0,
        };
        let Some((start, rest)) = bytes.split_at_checked(scheme.len()) else { return 0 };
        if !start.eq_ignore_ascii_case(scheme) {
            return 0;
        }
        if self.state == State::Lead {
            self.start = at;
        }
        let at = at.saturating_add(offset(scheme.len()));
        let most = distance(at, self.start.saturating_add(MAX_HEAD));
        let host = rest.iter().take(most).take_while(|byte| is_plain(byte)).count();
        self.authority.extend_from_slice(rest.get(..host).unwrap_or_default());
        if self.state != State::Authority {
            self.state = if host == 0 { State::Slashes(2) } else { State::Authority };
        }
        scheme.len().saturating_add(host)
    }

    /// The URL ends at `at`; a `tail` does not belong to it.
    pub(super) fn end(&mut self, at: u64, tail: Option<u8>) -> Option<Head> {
        self.release(at);
        if self.state != State::Authority {
            self.abandon();
            return None;
        }
        while self.authority.last().is_some_and(|byte| Some(*byte) == tail) {
            self.authority.pop();
        }
        while self.authority.last().is_some_and(|byte| is_around(*byte)) {
            self.authority.pop();
        }
        self.decide()
    }

    /// The authority that was read last: as a browser decodes it, with the case of its letters.
    pub(super) fn authority(&self) -> &[u8] {
        &self.authority
    }

    fn read_authority(&mut self, unit: Unit) -> Option<Head> {
        let index = self.authority.len();
        match unit.byte {
            b'/' | b'\\' | b'?' | b'#' => return self.decide(),
            byte if is_dropped(byte) => return None,
            b'@' => {
                (self.host_at, self.colon, self.is_in_brackets) = (index.saturating_add(1), None, false);
            }
            b'[' => self.is_in_brackets = true,
            b']' => self.is_in_brackets = false,
            b':' if !self.is_in_brackets => {
                self.colon = Some(Colon { index, start: unit.start, end: unit.end });
            }
            b'0'..=b'9' => {
                if let Some(colon) = &mut self.colon {
                    colon.end = unit.end;
                }
            }
            _ => {}
        }
        self.authority.push(unit.byte);
        None
    }

    fn decide(&mut self) -> Option<Head> {
        self.state = State::Decided;
        let port = match self.colon {
            None => UrlPort::Absent,
            Some(Colon { index, start, end }) => match self.authority.get(index.saturating_add(1)..)? {
                [] => UrlPort::Absent,
                digits => UrlPort::Written { port: port(digits)?, start, end },
            },
        };
        (!self.host_bytes().is_empty()).then_some(Head { scheme_at: self.start, port })
    }

    /// The host of the URL that was decided last, as a browser reads it.
    pub(super) fn host(&self) -> Option<Host<'_>> {
        host(self.host_bytes())
    }

    fn host_bytes(&self) -> &[u8] {
        let end = self.colon.map_or(self.authority.len(), |colon| colon.index);
        self.authority.get(self.host_at..end).unwrap_or_default()
    }
}

/// What a URL parser takes off both ends. A NUL in markup or CSS is U+FFFD by then.
fn is_around(byte: u8) -> bool {
    matches!(byte, 1..=b' ')
}

/// Of a name as most are written.
pub(super) fn is_plain(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')
}

/// What a URL parser takes out wherever it stands.
fn is_dropped(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r')
}

fn port(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0_u16, |port, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        port.checked_mul(10)?.checked_add(u16::try_from(digit).ok()?)
    })
}

/// Host of a URL as browsers read it: `0x7f.1` and `2130706433` are addresses, `%6cocalhost` is a name. `None` for
/// what is no host that could be reached.
fn host(bytes: &[u8]) -> Option<Host<'_>> {
    if let Some(inner) = bytes.strip_prefix(b"[") {
        let text = std::str::from_utf8(inner.strip_suffix(b"]")?).ok()?;
        return text.parse().ok().map(Host::V6);
    }
    if let Some(name) = plain_name(bytes) {
        return Some(Host::Name(HostName::unchecked(Cow::Borrowed(name))));
    }
    uncommon_host(bytes)
}

/// A name as most are written.
fn plain_name(bytes: &[u8]) -> Option<&str> {
    let last = bytes.rsplit(|byte| *byte == b'.').next()?;
    let is_name = last.first()?.is_ascii_alphabetic() && bytes.iter().all(is_plain);
    std::str::from_utf8(bytes).ok().filter(|_| is_name)
}

fn uncommon_host(bytes: &[u8]) -> Option<Host<'_>> {
    let bytes = percent_bytes(bytes)?;
    let is_ascii = bytes.is_ascii();
    let name = match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    };
    if !is_ascii && name.chars().any(may_become_ascii) {
        return None;
    }
    let name = if is_ascii { name } else { Cow::Owned(name.chars().map(narrow).collect()) };
    let name = match name {
        Cow::Borrowed(name) => Cow::Borrowed(name.strip_suffix('.').unwrap_or(name)),
        Cow::Owned(name) => Cow::Owned(name.strip_suffix('.').unwrap_or(&name).to_owned()),
    };
    let is_of_name =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') || !byte.is_ascii();
    if name.is_empty() || !name.bytes().all(is_of_name) {
        return None;
    }
    if is_number(name.rsplit('.').next().unwrap_or_default()) {
        return ipv4(&name).map(Host::V4);
    }
    Some(Host::Name(HostName::unchecked(name)))
}

/// Full-width letters, digits and dots, which browsers map to ASCII (UTS 46).
fn narrow(char: char) -> char {
    match char {
        '\u{3002}' | '\u{ff61}' => '.',
        '\u{ff01}'..='\u{ff5e}' => {
            u32::from(char).checked_sub(0xfee0).and_then(char::from_u32).unwrap_or(char)
        }
        _ => char,
    }
}

/// What browsers drop, or map to ASCII, and [`narrow`] does not (UTS 46): a name with it may be any other. So may one with
/// a control character, which as a reference stands for another character (`&#153;` is a trade mark sign).
fn may_become_ascii(char: char) -> bool {
    matches!(char,
        '\u{80}'..='\u{9f}' | '\u{aa}'..='\u{b3}' | '\u{b9}'..='\u{ba}' | '\u{132}'..='\u{133}' | '\u{17f}' | '\u{1c7}'..='\u{1cc}'
        | '\u{1f1}'..='\u{1f3}' | '\u{2b0}'..='\u{2b8}' | '\u{2e1}'..='\u{2e3}' | '\u{34f}' | '\u{37e}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{1d2c}'..='\u{1dbb}'
        | '\u{1fef}' | '\u{200b}' | '\u{203c}' | '\u{2060}'..='\u{213b}' | '\u{2145}'..='\u{217f}'
        | '\u{2460}'..='\u{24ea}' | '\u{2a75}'..='\u{2a76}' | '\u{2c7c}'..='\u{2c7d}' | '\u{3164}'
        | '\u{3250}'..='\u{33ff}' | '\u{a7f1}'..='\u{a7f4}' | '\u{fb00}'..='\u{fb06}' | '\u{fb29}'
        | '\u{fe00}'..='\u{fe69}' | '\u{feff}' | '\u{ffa0}' | '\u{107a5}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1ccd6}'..='\u{1ccf9}' | '\u{1d173}'..='\u{1d17a}' | '\u{1d400}'..='\u{1d7ff}' | '\u{1df95}'
        | '\u{1f101}'..='\u{1f190}' | '\u{1fbf0}'..='\u{1fbf9}' | '\u{e0100}'..='\u{e01ef}'
    )
}

fn is_number(label: &str) -> bool {
    (!label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit())) || ipv4_number(label).is_some()
}

/// The URL standard's IPv4 parser: one to four numbers, in base 8, 10 or 16; the last one fills what is left.
fn ipv4(name: &str) -> Option<Ipv4Addr> {
    let mut address = 0_u32;
    let mut labels = name.split('.').peekable();
    for octets_left in [4_u32, 3, 2, 1] {
        let number = ipv4_number(labels.next()?)?;
        if labels.peek().is_none() {
            let limit = 256_u64.checked_pow(octets_left)?;
            return (number < limit)
                .then(|| Ipv4Addr::from(address | u32::try_from(number).unwrap_or(u32::MAX)));
        }
        let shift = octets_left.checked_sub(1)?.checked_mul(8)?;
        address |= u32::from(u8::try_from(number).ok()?).checked_shl(shift)?;
    }
    None
}

fn ipv4_number(label: &str) -> Option<u64> {
    let (digits, radix) = match label.strip_prefix("0x").or_else(|| label.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => match label.strip_prefix('0') {
            Some(octal) if !octal.is_empty() => (octal, 8),
            _ if label.is_empty() => return None,
            _ => (label, 10),
        },
    };
    digits.chars().try_fold(0_u64, |number, char| {
        Some(number.saturating_mul(u64::from(radix)).saturating_add(u64::from(char.to_digit(radix)?)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plain_name_is_what_the_long_way_finds(text in "[a-cx0-9A-C.%_-]{0,10}(\\.(0x|0|x|a)?[0-9a-cx]{0,3})?") {
            prop_assert_eq!(host(text.as_bytes()), uncommon_host(text.as_bytes()), "{}", text);
        }

        #[test]
        fn what_is_skipped_is_as_if_fed(
            text in "[ x]?((?i)http):?/{0,3}[a-cA-C0-9.:@%/\\t\\[\\]_-]{0,12}",
            long in prop_oneof![9 => Just(0_usize), 1 => 1000_usize..1030],
            fed_first in 0_usize..12,
        ) {
            let text = format!("{text}{}/", "a".repeat(long));
            prop_assert_eq!(head_with_skips(&text, fed_first), head(&text), "{}", text);
        }
    }

    #[cfg(feature = "idn")]
    #[test]
    fn knows_each_character_that_becomes_ascii() {
        for char in ('\u{80}'..=char::MAX).filter(|char| narrow(*char) == *char) {
            let name = format!("a{char}b");
            let ascii = idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::URL);
            let becomes_ascii = ascii.is_ok_and(|ascii| !ascii.contains("xn--"));
            assert!(!becomes_ascii || may_become_ascii(char), "{char:?}");
        }
    }

    fn head(text: &str) -> Option<(Head, String)> {
        let mut scan = UrlScan::default();
        scan.begin();
        let fed = text.bytes().enumerate().find_map(|(at, byte)| scan.feed(Unit::literal(byte, at as u64)));
        let head = fed.or_else(|| scan.end(text.len() as u64, None))?;
        Some((head, scan.host().map_or("no host".to_owned(), |host| host.to_string())))
    }

    /// Skips whatever it can behind the first bytes.
    fn head_with_skips(text: &str, fed_first: usize) -> Option<(Head, String)> {
        let mut scan = UrlScan::default();
        scan.begin();
        let mut at = 0;
        let mut found = None;
        while at < text.len() && found.is_none() {
            if at >= fed_first {
                at += scan.skip(&text.as_bytes()[at..], at as u64);
            }
            found = text.as_bytes().get(at).and_then(|byte| scan.feed(Unit::literal(*byte, at as u64)));
            at += 1;
        }
        let head = found.or_else(|| scan.end(text.len() as u64, None))?;
        Some((head, scan.host().map_or("no host".to_owned(), |host| host.to_string())))
    }

    fn host_of(text: &str) -> Option<String> {
        head(text).map(|(_, host)| host)
    }

    #[test]
    fn host_as_a_browser_reads_it() {
        for (url, host) in [
            ("http://h", "h"),
            (" \x01http://h ", "h"),
            ("HTTP:\\/h\\x", "h"),
            ("http:///h/x", "h"),
            ("http:/\n/h\t.example?x", "h.example"),
            ("http://user:80@H.example:8080#f", "h.example"),
            ("http://a@b@c/", "c"),
            ("http://h./", "h"),
            ("http://[::1]:80/", "[::1]"),
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://2130706433/", "127.0.0.1"),
            ("http://127.0.0.01/", "127.0.0.1"),
            ("http://%6cocalhost/", "localhost"),
            ("http://ｌｏcalhost。/", "localhost"),
            ("http://bücher.example/", "bücher.example"),
            ("http://256.0.0.1/", "no host"),
            ("http://1.2.3.4.5/", "no host"),
            ("http://a b/", "no host"),
            ("http://a%2fb/", "no host"),
            ("http://[::1/", "no host"),
            ("http://[@h:80/", "h"),
            ("http://]@h/", "h"),
            ("http://u:[@h/", "h"),
            // What browsers read as `localhost` and 127.0.0.1, or drop.
            ("http://local\u{ad}host/", "no host"),
            ("http://local%C2%ADhost/", "no host"),
            ("http://\u{2113}ocalho\u{17f}t/", "no host"),
            ("http://\u{1d4f5}\u{24de}calhost/", "no host"),
            ("http://\u{2460}\u{2461}\u{2466}.0.0.1/", "no host"),
            ("http://127.0.0.\u{1d7cf}/", "no host"),
            ("http://\u{b9}27.0.0.1/", "no host"),
            ("http://\u{200b}localhost/", "no host"),
            ("http://\u{99}.example/", "no host"),
            (
                "http://\u{4f8b}\u{3048}.\u{30c6}\u{30b9}\u{30c8}/",
                "\u{4f8b}\u{3048}.\u{30c6}\u{30b9}\u{30c8}",
            ),
        ] {
            assert_eq!(host_of(url).as_deref(), Some(host), "{url}");
        }
    }

    #[test]
    fn no_absolute_http_url() {
        for url in [
            "",
            "h",
            "http",
            "http:",
            "http:/",
            "http://",
            "http:///",
            "http:h/",
            "http:/h/",
            "https://h/",
            "httpx://h",
            "xhttp://h/",
            "//h/",
            "http ://h/",
            "ht\ntp://h/",
            "http://?",
            "http://:80/",
            "http://u@/",
            "\0http://h/",
            "http://h:8x/",
            "http://h:65536/",
        ] {
            assert_eq!(host_of(url), None, "{url:?}");
        }
    }

    #[test]
    fn port_by_its_number() {
        let port = |url| head(url).unwrap().0.port;
        assert_eq!(port("http://h:80/"), UrlPort::Written { port: 80, start: 8, end: 11 });
        assert_eq!(port(" http://h:0080 "), UrlPort::Written { port: 80, start: 9, end: 14 });
        assert_eq!(port("http://h:8080"), UrlPort::Written { port: 8080, start: 8, end: 13 });
        assert_eq!(port("http://h:/"), UrlPort::Absent);
        assert_eq!(port("http://u:80@h/"), UrlPort::Absent);
    }

    #[test]
    fn too_long_a_head_is_let_go() {
        let long = "a".repeat(1100);
        assert_eq!(host_of(&format!("http://{long}/")), None);
    }
}
