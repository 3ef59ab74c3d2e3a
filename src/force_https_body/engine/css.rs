//! The URLs of CSS (CSS Syntax Level 3, section 4.3): `url(..)`, `@import ".."` and the strings of `image-set(..)`.
//!
//! Not those of `@namespace` and `@document`, which name things and are not fetched. Escapes that spell the
//! function, or the scheme, are not decoded: such a URL is left alone.

use memchr::{memchr, memchr2};

use super::name::Name;
use super::reference::Unit;
use super::url::{Head, UrlScan};

/// Follows a style sheet, or the value of a `style` attribute.
#[derive(Debug, Default)]
pub(super) struct Css {
    state: State,
    identifier: Name,
    /// What a string means: the keyword of the at-rule that is open.
    rule: Rule,
    depth: u32,
    /// Inside of `image-set(`: the depth at which strings are URLs.
    image_set: Option<u32>,
    /// Where the backslash of an escape stands.
    escape_at: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Tokens,
    Identifier {
        is_at_keyword: bool,
    },
    Escape {
        is_at_keyword: bool,
    },
    Slash,
    Comment,
    CommentStar,
    Text {
        quote: u8,
        is_url: bool,
        is_escaped: bool,
    },
    UrlStart,
    UnquotedUrl {
        is_escaped: bool,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rule {
    #[default]
    Other,
    Import,
    /// `@namespace`, `@document`.
    Names,
}

impl Css {
    /// How many bytes follow that change nothing.
    pub(super) fn skip(&self, bytes: &[u8], at: u64, url: &mut UrlScan) -> usize {
        let end = match self.state {
            State::Tokens if self.rule == Rule::Other && self.depth == 0 && self.image_set.is_none() => {
                return plain_tokens(bytes);
            }
            State::Comment => memchr(b'*', bytes),
            State::Text { quote, is_url, is_escaped: false } if !is_url || url.is_decided() => {
                bytes.iter().position(|byte| *byte == quote || *byte == b'\\' || is_newline(*byte))
            }
            State::UnquotedUrl { is_escaped: false } if url.is_decided() => memchr2(b')', b'\\', bytes),
            State::Text { is_url: true, is_escaped: false, .. }
            | State::UnquotedUrl { is_escaped: false } => {
                return url.skip(bytes, at);
            }
            _ => Some(0),
        };
        end.unwrap_or(bytes.len())
    }

    pub(super) fn feed(&mut self, unit: Unit, url: &mut UrlScan) -> Option<Head> {
        match self.state {
            State::Tokens => self.token(unit, url),
            State::Identifier { is_at_keyword } => {
                if is_of_identifier(unit.byte) {
                    self.identifier.push(unit.byte);
                    return None;
                }
                if unit.byte == b'\\' {
                    // An escaped name is none that is looked for.
                    self.identifier.push(b'\\');
                    self.state = State::Escape { is_at_keyword };
                    return None;
                }
                self.state = State::Tokens;
                if is_at_keyword {
                    self.at_keyword();
                } else if unit.byte == b'(' {
                    self.function();
                    return None;
                }
                self.token(unit, url);
            }
            State::Escape { is_at_keyword } => self.state = State::Identifier { is_at_keyword },
            State::Slash => {
                self.state = if unit.byte == b'*' { State::Comment } else { State::Tokens };
                if self.state == State::Tokens {
                    self.token(unit, url);
                }
            }
            State::Comment if unit.byte == b'*' => self.state = State::CommentStar,
            State::Comment => {}
            State::CommentStar => match unit.byte {
                b'/' => self.state = State::Tokens,
                b'*' => {}
                _ => self.state = State::Comment,
            },
            State::Text { quote, is_url, is_escaped } => {
                return self.text(unit, quote, is_url, is_escaped, url);
            }
            State::UrlStart => match unit.byte {
                byte if byte.is_ascii_whitespace() => {}
                quote @ (b'"' | b'\'') => {
                    // A function like any other: a parenthesis closes it.
                    self.depth = self.depth.saturating_add(1);
                    self.open_text(quote, self.rule != Rule::Names, url);
                }
                _ => {
                    self.state = State::UnquotedUrl { is_escaped: false };
                    if self.rule != Rule::Names {
                        url.begin();
                    }
                    return self.unquoted(unit, false, url);
                }
            },
            State::UnquotedUrl { is_escaped } => return self.unquoted(unit, is_escaped, url),
        }
        None
    }

    /// The style sheet ends; an open URL counts (CSS Syntax, section 4.3.6).
    pub(super) fn end(&self, at: u64, url: &mut UrlScan) -> Option<Head> {
        url.end(at, None)
    }

    fn token(&mut self, unit: Unit, url: &mut UrlScan) {
        match unit.byte {
            b'@' => {
                self.identifier.clear();
                self.state = State::Identifier { is_at_keyword: true };
            }
            // The name behind a `#` is that of no function.
            byte if is_of_identifier(byte) || byte == b'#' => {
                self.identifier.clear();
                self.identifier.push(byte);
                self.state = State::Identifier { is_at_keyword: false };
            }
            b'\\' => {
                self.identifier.clear();
                self.identifier.push(b'\\');
                self.state = State::Escape { is_at_keyword: false };
            }
            b'/' => self.state = State::Slash,
            quote @ (b'"' | b'\'') => {
                let is_import = self.rule == Rule::Import;
                let is_url = is_import || self.image_set == Some(self.depth);
                if is_import {
                    self.rule = Rule::Other;
                }
                self.open_text(quote, is_url, url);
            }
            b'(' => self.depth = self.depth.saturating_add(1),
            b')' => self.close(),
            b';' | b'{' | b'}' => (self.rule, self.depth, self.image_set) = (Rule::Other, 0, None),
            _ => {}
        }
    }

    fn at_keyword(&mut self) {
        self.rule = match self.identifier.as_bytes() {
            b"import" => Rule::Import,
            b"namespace" | b"document" | b"-moz-document" => Rule::Names,
            // What the escape spells may be one of these.
            name if name.contains(&b'\\') => Rule::Names,
            _ => Rule::Other,
        };
    }

    /// Behind the name of a function, and its `(`.
    fn function(&mut self) {
        match self.identifier.as_bytes() {
            b"url" => {
                self.state = State::UrlStart;
                if self.rule == Rule::Import {
                    self.rule = Rule::Other;
                }
            }
            name => {
                self.depth = self.depth.saturating_add(1);
                if matches!(name, b"image-set" | b"-webkit-image-set") {
                    self.image_set = Some(self.depth);
                }
            }
        }
    }

    fn close(&mut self) {
        if self.image_set == Some(self.depth) {
            self.image_set = None;
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn open_text(&mut self, quote: u8, is_url: bool, url: &mut UrlScan) {
        self.state = State::Text { quote, is_url, is_escaped: false };
        if is_url {
            url.begin();
        }
    }

    fn text(
        &mut self,
        unit: Unit,
        quote: u8,
        is_url: bool,
        is_escaped: bool,
        url: &mut UrlScan,
    ) -> Option<Head> {
        let is_escape = self.is_escape(unit, is_escaped);
        // An escaped line end may be two bytes.
        let goes_on = is_escape || (is_escaped && unit.byte == b'\r');
        self.state = State::Text { quote, is_url, is_escaped: goes_on };
        if !is_escaped && (unit.byte == quote || is_newline(unit.byte)) {
            self.state = State::Tokens;
            if is_url && unit.byte == quote {
                return self.end(unit.end, url);
            }
            url.abandon();
            return None;
        }
        if is_url && !is_escape { self.feed_url(unit, is_escaped, url) } else { None }
    }

    fn unquoted(&mut self, unit: Unit, is_escaped: bool, url: &mut UrlScan) -> Option<Head> {
        let is_escape = self.is_escape(unit, is_escaped);
        self.state = State::UnquotedUrl { is_escaped: is_escape };
        if !is_escaped && unit.byte == b')' {
            self.state = State::Tokens;
            return self.end(unit.end, url);
        }
        if is_escape { None } else { self.feed_url(unit, is_escaped, url) }
    }

    fn is_escape(&mut self, unit: Unit, is_escaped: bool) -> bool {
        let is_escape = unit.byte == b'\\' && !is_escaped;
        if is_escape {
            self.escape_at = unit.start;
        }
        is_escape
    }

    /// `\/` is a slash; an escape of hex digits is not decoded, and the URL that it is part of left alone.
    fn feed_url(&self, unit: Unit, is_escaped: bool, url: &mut UrlScan) -> Option<Head> {
        if !is_escaped {
            return url.feed(unit);
        }
        if unit.byte.is_ascii_hexdigit() || is_newline(unit.byte) {
            url.abandon();
            return None;
        }
        url.feed(Unit { start: self.escape_at, ..unit })
    }
}

/// The length of what is no comment, escape, function or at-rule, nor a part of one.
fn plain_tokens(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let place = |rest: &[u8]| bytes.len().saturating_sub(rest.len());
    loop {
        let (before, special) = rest.split_at_checked(plain_bytes(rest)).unwrap_or_default();
        let after = match special {
            [b'/', after @ ..] if after.first().is_some_and(|byte| *byte != b'*') => Some(after),
            [quote @ (b'"' | b'\''), text @ ..] => behind_text(text, *quote),
            [b'/' | b'@', ..] => None,
            // An identifier may be the name of a function, or go on behind an escape, or in the next piece.
            _ => {
                let end = before.iter().rposition(|byte| !is_of_identifier(*byte) && *byte != b'#');
                let name = end.map_or(0, |last| last.saturating_add(1));
                return place(rest).saturating_add(name);
            }
        };
        match after {
            Some(after) => rest = after,
            None => return place(special),
        }
    }
}

/// What follows a string, if it ends here and has no escapes.
fn behind_text(text: &[u8], quote: u8) -> Option<&[u8]> {
    let end = text.iter().position(|byte| *byte == quote || *byte == b'\\' || is_newline(*byte))?;
    match text.split_at_checked(end)?.1 {
        [end, after @ ..] if *end == quote => Some(after),
        _ => None,
    }
}

/// The length of what begins nothing.
fn plain_bytes(bytes: &[u8]) -> usize {
    const SPECIAL: [u8; 6] = *b"\"'(/@\\";
    const BLOCK: usize = 16;
    // Without a branch inside of a block: it becomes vector code.
    let is_clean = |block: &&[u8]| {
        block
            .iter()
            .fold(0, |any, byte| SPECIAL.iter().fold(any, |any, special| any | u8::from(byte == special)))
            == 0
    };
    let clean = bytes.chunks_exact(BLOCK).take_while(is_clean);
    let clean = clean.count().saturating_mul(BLOCK);
    let rest = bytes.get(clean..).unwrap_or_default();
    rest.iter().position(|byte| SPECIAL.contains(byte)).unwrap_or(rest.len()).saturating_add(clean)
}

fn is_of_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || !byte.is_ascii()
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | b'\x0c')
}
