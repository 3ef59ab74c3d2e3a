//! Link (RFC 8288, section 3 and appendix B.2): where its references stand.

use std::ops::Range;

/// Where the targets and the `anchor` parameters stand, from the left, up to the first byte that no link admits.
/// An anchor with escapes in it is left out.
///
/// ```
/// use tower_proxied::wire::link::references;
///
/// let value = br#"</a,b>; title="x, </y>"; anchor="/c", <d>; rel=next"#;
/// let found: Vec<_> = references(value).map(|range| &value[range]).collect();
/// assert_eq!(found, [&b"/a,b"[..], b"/c", b"d"]);
/// ```
pub fn references(value: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut scan = Scan { value, at: 0 };
    let mut is_in_link = false;
    std::iter::from_fn(move || {
        loop {
            scan.skip(is_blank);
            match scan.peek()? {
                b',' => {
                    is_in_link = false;
                    scan.step();
                }
                b'<' if !is_in_link => {
                    is_in_link = true;
                    scan.step();
                    return scan.up_to(b'>');
                }
                b';' if is_in_link => {
                    scan.step();
                    if let Some(anchor) = scan.parameter()? {
                        return Some(anchor);
                    }
                }
                _ => return None,
            }
        }
    })
}

struct Scan<'a> {
    value: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.value.get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) -> Range<usize> {
        let start = self.at;
        while self.peek().is_some_and(&skipped) {
            self.step();
        }
        start..self.at
    }

    /// To the mark and over it; `None` where there is none.
    fn up_to(&mut self, mark: u8) -> Option<Range<usize>> {
        let range = self.skip(|byte| byte != mark);
        self.peek()?;
        self.step();
        Some(range)
    }

    /// Reads a parameter; `Some(Some(..))` is an anchor, `None` is a quote that never ends.
    fn parameter(&mut self) -> Option<Option<Range<usize>>> {
        self.skip(is_blank);
        let name = self.skip(|byte| !is_blank(byte) && !b"=;,".contains(&byte));
        let is_anchor = self.value.get(name).is_some_and(|name| name.eq_ignore_ascii_case(b"anchor"));
        self.skip(is_blank);
        if self.peek() != Some(b'=') {
            return Some(None);
        }
        self.step();
        self.skip(is_blank);
        if self.peek() != Some(b'"') {
            let token = self.skip(|byte| !is_blank(byte) && !b";,".contains(&byte));
            return Some(is_anchor.then_some(token));
        }
        self.step();
        let start = self.at;
        let mut has_escapes = false;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    self.step();
                }
                _ => {}
            }
            self.step();
        }
        let quoted = start..self.at;
        self.step();
        Some((is_anchor && !has_escapes).then_some(quoted))
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places() {
        let found = |value: &'static str| -> Vec<&'static str> {
            references(value.as_bytes()).map(|range| &value[range]).collect()
        };
        assert_eq!(found("</a>"), ["/a"]);
        assert_eq!(found(" ,</a>;rel=x , , </b>;rel"), ["/a", "/b"]);
        assert_eq!(found("</a>; title=\"q\\\", </x>\", </b>"), ["/a", "/b"]);
        assert_eq!(found("</a>; ANCHOR = /c; x"), ["/a", "/c"]);
        assert_eq!(found("</a>; anchor=\"/c\\d\""), ["/a"]);
        assert_eq!(found("</a>; anchor"), ["/a"]);
        assert_eq!(found("<>; rel=self"), [""]);
        assert_eq!(found("</a; rel=x"), [""; 0]);
        assert_eq!(found("/a; rel=x"), [""; 0]);
        assert_eq!(found("</a>; t=\"x, </b>"), ["/a"]);
        assert_eq!(found("</a> x, </b>"), ["/a"]);
        assert_eq!(found(""), [""; 0]);
    }

    proptest! {
        #[test]
        fn places_are_in_order(value in "[</a>;,= \"\\\\]{0,8}(; ?anchor=\"?[/a]\"?)?[<>,/b]{0,6}") {
            let mut end = 0;
            for range in references(value.as_bytes()) {
                prop_assert!(end <= range.start && range.start <= range.end && range.end <= value.len());
                end = range.end;
            }
        }

        #[test]
        fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..24)) {
            prop_assert!(references(&value).all(|range| value.get(range).is_some()));
        }
    }
}
