//! `srcset` (HTML Standard, section 4.8.4.2.2 "Parsing a srcset attribute").

use super::reference::Unit;
use super::url::{Head, UrlScan};

/// Finds the URLs of a list of image candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Srcset {
    #[default]
    BetweenCandidates,
    Url {
        ends_in_comma: bool,
    },
    Descriptors,
    /// A comma in parentheses ends no candidate.
    Parentheses,
}

impl Srcset {
    /// How many bytes follow that change nothing, or only the host of a URL; not the last one of it, which may be a
    /// comma.
    pub(super) fn skip(&self, bytes: &[u8], at: u64, url: &mut UrlScan) -> usize {
        if !matches!(self, Self::Url { ends_in_comma: false }) {
            return 0;
        }
        if !url.is_decided() {
            return bytes.split_last().map_or(0, |(_, bytes)| url.skip(bytes, at));
        }
        let end = bytes.iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len());
        end.saturating_sub(1)
    }

    pub(super) fn feed(&mut self, unit: Unit, url: &mut UrlScan) -> Option<Head> {
        let is_blank = unit.byte.is_ascii_whitespace();
        match self {
            Self::BetweenCandidates => {
                if is_blank || unit.byte == b',' {
                    return None;
                }
                *self = Self::Url { ends_in_comma: false };
                url.begin();
                url.feed(unit)
            }
            Self::Url { ends_in_comma } if is_blank => {
                *self = if *ends_in_comma { Self::BetweenCandidates } else { Self::Descriptors };
                self.end(unit.end, url)
            }
            Self::Url { ends_in_comma } => {
                *ends_in_comma = unit.byte == b',';
                url.feed(unit)
            }
            Self::Descriptors => {
                match unit.byte {
                    b',' => *self = Self::BetweenCandidates,
                    b'(' => *self = Self::Parentheses,
                    _ => {}
                }
                None
            }
            Self::Parentheses => {
                if unit.byte == b')' {
                    *self = Self::Descriptors;
                }
                None
            }
        }
    }

    pub(super) fn end(&self, at: u64, url: &mut UrlScan) -> Option<Head> {
        url.end(at, Some(b','))
    }
}
