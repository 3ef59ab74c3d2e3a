//! `content` of `<meta http-equiv=refresh>` (HTML Standard, section 4.2.5.3).

use super::name::Name;
use super::reference::Unit;
use super::url::{Head, UrlScan};

/// Finds the URL behind the seconds: `5; url=http://..`, the `url=` and quotes being optional.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refresh {
    state: State,
    word: Name,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Seconds,
    /// Behind the seconds, at what may be `url`.
    Start,
    Word,
    Equals,
    Quote,
    Url {
        quote: u8,
    },
}

impl Refresh {
    pub(super) fn feed(&mut self, unit: Unit, url: &mut UrlScan) -> Option<Head> {
        let is_blank = unit.byte.is_ascii_whitespace();
        match self.state {
            State::Seconds => match unit.byte {
                b'0'..=b'9' | b'.' => {}
                byte if is_blank || matches!(byte, b';' | b',') => self.state = State::Start,
                _ => self.state = State::Url { quote: 0 },
            },
            State::Start if is_blank || matches!(unit.byte, b';' | b',') => {}
            State::Start if unit.byte.eq_ignore_ascii_case(&b'u') => {
                self.word = Name::of(b"u");
                self.state = State::Word;
            }
            State::Start => return self.quote(unit, url),
            State::Word => {
                if is_blank {
                    self.state = State::Equals;
                } else if unit.byte == b'=' {
                    self.state = State::Equals;
                    return self.feed(unit, url);
                } else {
                    self.word.push(unit.byte);
                    if !b"url".starts_with(self.word.as_bytes()) {
                        self.state = State::Url { quote: 0 };
                    }
                }
            }
            State::Equals if unit.byte == b'=' && self.word.is(b"url") => self.state = State::Quote,
            State::Equals if is_blank => {}
            State::Equals => self.state = State::Url { quote: 0 },
            State::Quote if is_blank => {}
            State::Quote => return self.quote(unit, url),
            State::Url { quote } => {
                if quote != 0 && unit.byte == quote {
                    self.state = State::Url { quote: 0 };
                    return self.end(unit.end, url);
                }
                return url.feed(unit);
            }
        }
        None
    }

    pub(super) fn end(&self, at: u64, url: &mut UrlScan) -> Option<Head> {
        url.end(at, None)
    }

    fn quote(&mut self, unit: Unit, url: &mut UrlScan) -> Option<Head> {
        url.begin();
        if matches!(unit.byte, b'"' | b'\'') {
            self.state = State::Url { quote: unit.byte };
            return None;
        }
        self.state = State::Url { quote: 0 };
        url.feed(unit)
    }
}
