//! What `http::HeaderMap` lacks.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::wire::{ShortBytes, list};

/// Of HTTP/1.0 proxies (RFC 9112, appendix C.2.2).
pub(crate) const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes all fields whose name is such. Looks at each name once, and allocates only where the names that go have
/// more than [`SHORT`] bytes.
pub(crate) fn remove_where(headers: &mut HeaderMap, is_such: impl Fn(&HeaderName) -> bool) {
    remove_where_from(headers, 0, is_such);
}

/// The same, of the names from this one on.
pub(crate) fn remove_where_from(
    headers: &mut HeaderMap,
    first: usize,
    is_such: impl Fn(&HeaderName) -> bool,
) {
    let mut found = headers.keys().skip(first).filter(|name| is_such(name)).peekable();
    if found.peek().is_none() {
        return;
    }
    // Copies, since the first clone of a name allocates.
    let mut names = ShortBytes::<SHORT>::new();
    found.for_each(|name| names.push(name.as_str().as_bytes(), b','));
    for name in names.split(|byte| *byte == b',').filter_map(|name| std::str::from_utf8(name).ok()) {
        headers.remove(name);
    }
}

const SHORT: usize = 512;

/// Takes names out of `Connection` and `Proxy-Connection`: a proxy further in removes what is listed there (RFC 9110,
/// section 7.6.1), and a client can list what the front end wrote (CVE-2024-45410, CVE-2022-31813). And out of
/// `Trailer`, so that no HTTP/1.1 sender hands on a trailer of that name (RFC 9110, section 6.6.2). What is
/// no token goes as well: another parser may see a name there.
pub(crate) fn unlist(headers: &mut HeaderMap, is_listed_wrongly: impl Fn(&HeaderName) -> bool) {
    for field in [header::CONNECTION, PROXY_CONNECTION, header::TRAILER] {
        unlist_of(&field, headers, &is_listed_wrongly);
    }
}

fn unlist_of(field: &HeaderName, headers: &mut HeaderMap, is_listed_wrongly: impl Fn(&HeaderName) -> bool) {
    let goes = |option: &&[u8]| HeaderName::from_bytes(option).map_or(true, |name| is_listed_wrongly(&name));
    let options = |line| split_list(line).filter(|option| !option.is_empty());
    if !list::lines(headers, field).flat_map(options).any(|option| goes(&option)) {
        return;
    }
    let mut kept: Vec<u8> = Vec::new();
    for option in list::lines(headers, field).flat_map(options).filter(|option| !goes(option)) {
        if !kept.is_empty() {
            kept.extend_from_slice(b", ");
        }
        kept.extend_from_slice(option);
    }
    headers.remove(field);
    if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::from_bytes(&kept)) {
        // Where the map takes no more names, the rest of the list goes too.
        let _ = headers.try_insert(field, value);
    }
}

fn split_list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(list::trim)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn all_lines_of_all_such_fields_go() {
        for count in [0, 1, 7, 8, 9, 40] {
            let mut headers = HeaderMap::new();
            headers.insert("kept", "1".parse().unwrap());
            for number in 0..count {
                let name = HeaderName::try_from(format!("x-{number}")).unwrap();
                headers.append(&name, "1".parse().unwrap());
                headers.append(&name, "2".parse().unwrap());
            }
            remove_where(&mut headers, |name| name.as_str().starts_with("x-"));
            assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["kept"], "{count}");
        }
    }

    /// A client may send many names; time must not grow with their square.
    #[test]
    fn each_name_is_looked_at_once() {
        let mut headers = HeaderMap::new();
        for number in 0..1000 {
            let start = if number % 2 == 0 { "kept" } else { "x" };
            headers.insert(HeaderName::try_from(format!("{start}-{number}")).unwrap(), "1".parse().unwrap());
        }
        let looks = Cell::new(0);
        remove_where(&mut headers, |name| {
            looks.set(looks.get() + 1);
            name.as_str().starts_with("x-")
        });
        assert_eq!((headers.len(), looks.get()), (500, 1000));
    }

    fn connection(lines: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::CONNECTION, line.parse().unwrap());
        }
        unlist(&mut headers, |name| name.as_str().starts_with("remote"));
        headers.get_all(header::CONNECTION).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    /// As the map hashes names, until it sees that they collide.
    #[derive(Default)]
    struct Fnv(u64);

    impl std::hash::Hasher for Fnv {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
        }

        fn finish(&self) -> u64 {
            self.0
        }
    }

    /// A map of the greatest size whose names collide takes no more, not even one for one that went.
    #[test]
    fn a_map_that_takes_no_more_names_does_not_panic() {
        use std::hash::{Hash as _, Hasher as _};

        let mut headers = HeaderMap::with_capacity(24_576);
        headers.insert(header::CONNECTION, "close, remote-user".parse().unwrap());
        for number in 0..7000 {
            headers.insert(HeaderName::try_from(format!("x-{number}")).unwrap(), "1".parse().unwrap());
        }
        let colliding =
            (0..).map(|number| HeaderName::try_from(format!("c-{number}")).unwrap()).filter(|name| {
                let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
                name.hash(&mut hash);
                hash.finish() & 0x7fff < 32
            });
        let takes_more =
            |headers: &HeaderMap| headers.clone().try_insert("probe", HeaderValue::from_static("1")).is_ok();
        for name in colliding.take(400) {
            if !takes_more(&headers) {
                break;
            }
            headers.insert(name, "1".parse().unwrap());
        }
        assert!(!takes_more(&headers));
        unlist(&mut headers, |name| name.as_str().starts_with("remote"));
        assert!(!headers.contains_key(header::CONNECTION));
    }

    #[test]
    fn identity_headers_leave_connection() {
        assert_eq!(connection(&["Remote-User, keep-alive"]), ["keep-alive"]);
        assert_eq!(connection(&["close", "REMOTE_USER , upgrade"]), ["close, upgrade"]);
        assert!(connection(&["remote-user"]).is_empty());
        assert_eq!(connection(&["close,  upgrade", "te"]), ["close,  upgrade", "te"]);
        assert_eq!(connection(&["close, \"remote-user\"", "te"]), ["close, te"]);
    }
}
