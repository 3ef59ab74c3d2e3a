//! What `http::HeaderMap` lacks.

use http::{HeaderMap, HeaderName};

/// Removes all fields whose name is such; allocates nothing.
pub(crate) fn remove_where(headers: &mut HeaderMap, is_such: impl Fn(&HeaderName) -> bool) {
    loop {
        let mut batch: [Option<HeaderName>; 8] = Default::default();
        let mut found = headers.keys().filter(|name| is_such(name)).cloned();
        batch.iter_mut().for_each(|slot| *slot = found.next());
        let is_full = batch.last().is_some_and(Option::is_some);
        for name in batch.iter().flatten() {
            headers.remove(name);
        }
        if !is_full {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
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
}
