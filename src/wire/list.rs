//! Comma lists that may stand in several field lines (RFC 9110, sections 5.2, 5.3 and 5.6.1).
//!
//! Read from the right, since the right end is what the nearest proxy wrote: no byte to the left of where the
//! reader stops matters, nor costs.

use http::{HeaderMap, HeaderName};

/// One element of a list, without the blanks around it. It may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The bytes of the element.
    pub bytes: &'a [u8],
    /// Its field line, counted from the last one, which is 0.
    pub line: usize,
    /// Where it starts in that line.
    pub start: usize,
}

/// The elements of all lines of a field, from the right.
///
/// # Example
///
/// ```
/// use tower_proxied::wire::list::from_right;
///
/// let lines: [&[u8]; 2] = [b"a, b", b" c ,, d"];
/// let elements: Vec<_> = from_right(lines.into_iter()).map(|element| element.bytes).collect();
/// assert_eq!(elements, [&b"d"[..], b"", b"c", b"b", b"a"]);
/// ```
pub fn from_right<'a, I>(lines: I) -> impl Iterator<Item = Element<'a>>
where
    I: DoubleEndedIterator<Item = &'a [u8]>,
{
    from_right_by(last_comma, lines)
}

/// The same where nothing separates: each line is one element.
pub(crate) fn whole_from_right<'a, I>(lines: I) -> impl Iterator<Item = Element<'a>>
where
    I: DoubleEndedIterator<Item = &'a [u8]>,
{
    from_right_by(|_| None, lines)
}

/// The same where something else separates: `last_separator` finds the rightmost one of what is left of a line.
pub(crate) fn from_right_by<'a, I, F>(last_separator: F, lines: I) -> impl Iterator<Item = Element<'a>>
where
    I: DoubleEndedIterator<Item = &'a [u8]>,
    F: Fn(&[u8]) -> Option<usize> + Copy,
{
    FromRight { lines, line: 0, rest: None, last_separator }
}

/// The rightmost comma.
fn last_comma(line: &[u8]) -> Option<usize> {
    line.iter().rposition(|byte| *byte == b',')
}

/// The values of all lines of a field, in their order.
pub fn lines<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
    headers.get_all(name).into_iter().map(|value| value.as_bytes())
}

/// The value of a field that must stand in one line: `Err` where it stands in several.
pub fn only_line<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, SeveralLines> {
    let mut lines = lines(headers, name);
    match (lines.next(), lines.next()) {
        (first, None) => Ok(first),
        _ => Err(SeveralLines),
    }
}

/// A field that must stand alone stands in several lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeveralLines;

/// Without the optional white space at both ends (RFC 9110, section 5.6.3: blanks and tabs).
pub fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

struct FromRight<'a, I, F> {
    lines: I,
    /// The line that `rest` is of.
    line: usize,
    rest: Option<&'a [u8]>,
    last_separator: F,
}

impl<'a, I, F> Iterator for FromRight<'a, I, F>
where
    I: DoubleEndedIterator<Item = &'a [u8]>,
    F: Fn(&[u8]) -> Option<usize>,
{
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let rest = match self.rest {
            Some(rest) => rest,
            None => self.lines.next_back()?,
        };
        let line = self.line;
        let start = match (self.last_separator)(rest) {
            Some(comma) => {
                self.rest = rest.get(..comma);
                comma.saturating_add(1)
            }
            None => {
                self.rest = None;
                self.line = line.saturating_add(1);
                0
            }
        };
        let raw = rest.get(start..).unwrap_or_default();
        let bytes = trim_start(raw);
        let blanks = raw.len().saturating_sub(bytes.len());
        Some(Element { bytes: trim_end(bytes), line, start: start.saturating_add(blanks) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn right_to_left_is_left_to_right_reversed(lines in prop::collection::vec("[a ,\t]{0,12}", 0..4)) {
            let mut naive: Vec<&[u8]> = lines
                .iter()
                .flat_map(|line| line.split(','))
                .map(|element| element.trim_matches([' ', '\t']).as_bytes())
                .collect();
            naive.reverse();
            let elements: Vec<_> = from_right(lines.iter().map(|line| line.as_bytes())).collect();
            prop_assert_eq!(elements.iter().map(|element| element.bytes).collect::<Vec<_>>(), naive);
            for element in elements {
                let line = lines[lines.len() - 1 - element.line].as_bytes();
                prop_assert_eq!(&line[element.start..element.start + element.bytes.len()], element.bytes);
            }
        }
    }

    #[test]
    fn only_line_refuses_equal_lines_too() {
        let mut headers = HeaderMap::new();
        let name = HeaderName::from_static("x-real-ip");
        assert_eq!(only_line(&headers, &name), Ok(None));
        headers.append(&name, "192.0.2.1".parse().unwrap());
        assert_eq!(only_line(&headers, &name), Ok(Some(&b"192.0.2.1"[..])));
        headers.append(&name, "192.0.2.1".parse().unwrap());
        assert_eq!(only_line(&headers, &name), Err(SeveralLines));
    }
}
