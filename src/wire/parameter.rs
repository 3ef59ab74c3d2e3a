//! Parameters of a URL: those of path segments (RFC 3986, section 3.3), and the query's pairs (HTML, form submission).
//!
//! Nothing is decoded: each parameter has one spelling.

use http::Uri;

use super::cut;

/// The values of all parameters of this name: first those of the path, behind a `;`, then those of the query, between
/// `&`. Names compare byte for byte; a parameter without `=` has no value.
///
/// # Example
///
/// ```
/// use tower_proxied::wire::parameter::values;
///
/// let uri = http::Uri::from_static("/a;id=x;v=1/b?myid=no&id=y=z&id");
/// assert_eq!(values(&uri, b"id").collect::<Vec<_>>(), [&b"x"[..], b"y=z"]);
/// ```
pub fn values<'a>(uri: &'a Uri, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let of_path = uri
        .path()
        .as_bytes()
        .split(|byte| *byte == b'/')
        .flat_map(|segment| segment.split(|byte| *byte == b';').skip(1));
    let of_query = uri.query().unwrap_or_default().as_bytes().split(|byte| *byte == b'&');
    of_path.chain(of_query).filter_map(move |pair| match cut(pair, b'=') {
        (found, value) if found == name => value,
        _ => None,
    })
}

/// What can stand as a name in both: not empty, and none of the marks that end it.
pub fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_graphic() && !b"/?#;&=".contains(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(uri: &str) -> Vec<String> {
        let uri = uri.parse().unwrap();
        values(&uri, b"id").map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
    }

    #[test]
    fn names_are_whole() {
        for uri in [
            "/",
            "/id=x",
            "/?xid=1",
            "/?id",
            "/;xid=1",
            "/?ID=1",
            "/a?b=?id=1",
            "/;id",
            "/?a;id=1",
            "/?%69d=1",
        ] {
            assert_eq!(found(uri), [""; 0], "{uri}");
        }
        assert_eq!(found("/a;id=1?id=2"), ["1", "2"]);
        assert_eq!(found("/a;id=1;id=2/b;id=3"), ["1", "2", "3"]);
        assert_eq!(found("http://h/?id=&id=a;b"), ["", "a;b"]);
        assert_eq!(found("*"), [""; 0]);
        assert_eq!(found("h:443"), [""; 0]);
    }

    proptest! {
        /// The naive twin: each end of a name is looked for in the text.
        #[test]
        fn what_stands_between_marks(path in "(/[id;=a]{0,6}){1,3}", query in "[id&=;/a]{0,12}") {
            let uri: Uri = format!("{path}?{query}").parse().unwrap();
            let behind = |text: &str, marks: &[char], ends: &[char]| -> Vec<String> {
                text.match_indices("id=")
                    .filter(|(at, _)| text[..*at].ends_with(marks))
                    .map(|(at, _)| text[at + 3..].split(ends).next().unwrap().to_owned())
                    .collect()
            };
            let query = format!("&{query}");
            let expected = [behind(&path, &[';'], &[';', '/']), behind(&query, &['&'], &['&'])].concat();
            prop_assert_eq!(found(&uri.to_string()), expected);
        }
    }
}
