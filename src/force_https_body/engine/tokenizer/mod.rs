//! The tokenizer (HTML Standard, section 13.2.5), down to attributes; and its plainer twin for XML.
//!
//! It keeps no bytes: each state depends on the bytes so far and not on how they were cut into chunks. What tree
//! construction decides (text modes, CDATA) it asks its [`Sink`].

mod noscript;
mod tag;
mod text;

use memchr::memchr;

pub(super) use self::tag::{Part, part, tag_name};
use super::name::Name;
use super::offset;

/// Which rules a document follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Html,
    Xml,
}

/// What follows a start tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Markup,
    /// RCDATA and RAWTEXT: text up to the end tag of the same name.
    Text,
    Script,
    /// Text to the end of the document.
    Plaintext,
    /// Markup for some browsers, text for the others: it ends at `</noscript` in any state.
    Noscript,
}

/// Who is told of the tokens.
pub(super) trait Sink {
    /// The name of a start tag is complete.
    fn start_tag(&mut self, name: &Name);
    /// Whether the attribute of this name must be told, with its letters as they are written.
    fn may_want(&self, name: &[u8]) -> bool;
    /// The name of an attribute of a start tag is complete: is its value wanted?
    fn attribute(&mut self, name: &Name) -> bool;
    /// A piece of a wanted value, as written.
    fn value(&mut self, piece: &[u8], at: u64);
    fn value_end(&mut self, at: u64);
    /// The start tag ended in `>`.
    fn start_tag_end(&mut self, is_self_closing: bool) -> Content;
    fn end_tag(&mut self, name: &Name, at: u64);
    /// The tag that was open turned out to be none.
    fn abandon_tag(&mut self);
    /// A piece of text that may hold character references only where `is_decoded`.
    fn text(&mut self, piece: &[u8], at: u64, is_decoded: bool);
    fn wants_text(&self) -> bool;
    fn allows_cdata(&self) -> bool;
}

#[derive(Debug)]
pub(super) struct Tokenizer {
    syntax: Syntax,
    state: State,
    /// How many bytes were read.
    at: u64,
    tag_name: Name,
    is_end_tag: bool,
    /// Of an attribute, of what follows `<!`, or of what may be an end tag in text.
    name: Name,
    wants_value: bool,
    /// The text mode to go back to from what is no end tag, and where its `<` stands.
    text_state: State,
    text_lt_at: u64,
    /// Inside of `noscript`: how many bytes of its end tag matched.
    noscript: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Data,
    TagOpen,
    EndTagOpen,
    TagName,
    BeforeAttributeName,
    AttributeName,
    AfterAttributeName,
    BeforeValue,
    QuotedValue(u8),
    UnquotedValue,
    AfterValue,
    SelfClosing,
    MarkupDeclaration,
    BogusComment,
    CommentStart,
    CommentStartDash,
    Comment,
    CommentEndDash,
    CommentEnd,
    CommentEndBang,
    Doctype,
    XmlDoctype { quote: u8, is_in_subset: bool },
    XmlInstruction { is_at_mark: bool },
    Cdata,
    CdataBracket,
    CdataEnd,
    Text,
    TextLessThan,
    TextEndTagOpen,
    TextEndTagName,
    Script,
    ScriptLessThan,
    ScriptEscapeStart,
    ScriptEscapeStartDash,
    ScriptEscaped { dashes: u8 },
    ScriptEscapedLessThan,
    ScriptDoubleEscapeStart,
    ScriptDoubleEscaped { dashes: u8 },
    ScriptDoubleEscapedLessThan,
    ScriptDoubleEscapeEnd,
    Plaintext,
}

impl Tokenizer {
    pub(super) fn new(syntax: Syntax) -> Self {
        Self {
            syntax,
            state: State::Data,
            at: 0,
            tag_name: Name::default(),
            is_end_tag: false,
            name: Name::default(),
            wants_value: false,
            text_state: State::Data,
            text_lt_at: 0,
            noscript: None,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Passes over bytes that leave it as it is.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(super) fn is_in_tag(&self) -> bool {
        matches!(
            self.state,
            State::BeforeAttributeName
                | State::AttributeName
                | State::AfterAttributeName
                | State::BeforeValue
                | State::QuotedValue(_)
                | State::UnquotedValue
                | State::AfterValue
                | State::SelfClosing
        )
    }

    /// Nothing is open, and all that comes is markup.
    pub(super) fn is_between_tags(&self) -> bool {
        self.state == State::Data && self.noscript.is_none()
    }

    /// Reads some of `bytes`, up to where [`is_between_tags`](Self::is_between_tags) holds, and says how many.
    pub(super) fn read<S: Sink>(&mut self, bytes: &[u8], sink: &mut S) -> usize {
        let mut rest = bytes;
        // What follows the next `<` that was looked for.
        let mut behind = bytes.len();
        while let Some(byte) = rest.first() {
            let window = match self.noscript {
                None => rest,
                // Its end tag begins at the next `<`.
                Some(0) if *byte != b'<' => {
                    if rest.len() <= behind {
                        behind = rest.len().saturating_sub(up_to(rest, memchr(b'<', rest)).len());
                    }
                    up_to(rest, rest.len().checked_sub(behind))
                }
                Some(_) => {
                    self.look_for_noscript_end(*byte, sink);
                    rest.get(..1).unwrap_or_default()
                }
            };
            let mut taken = 0;
            // Nothing taken: the same byte is read again in another state.
            while taken == 0 {
                taken = self.step(*byte, window, sink);
            }
            self.at = self.at.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
            rest = rest.get(taken..).unwrap_or_default();
            if self.is_between_tags() {
                break;
            }
        }
        bytes.len().saturating_sub(rest.len())
    }

    /// Reads from `rest`, which starts with `byte`, and says how many bytes it took.
    fn step<S: Sink>(&mut self, byte: u8, rest: &[u8], sink: &mut S) -> usize {
        match self.state {
            State::Data => match memchr(b'<', rest) {
                Some(0) => match self.tag(rest, sink) {
                    Some(len) => len,
                    None => self.go(State::TagOpen),
                },
                end => self.text(up_to(rest, end), true, sink),
            },
            State::TagOpen => match byte {
                b'!' => {
                    self.name.clear();
                    self.go(State::MarkupDeclaration)
                }
                b'/' => self.go(State::EndTagOpen),
                b'?' if self.syntax == Syntax::Xml => self.go(State::XmlInstruction { is_at_mark: false }),
                b'?' => self.go(State::BogusComment),
                _ if self.starts_name(byte) => self.open_tag(false),
                _ => {
                    if sink.wants_text() {
                        sink.text(b"<", self.at.saturating_sub(1), true);
                    }
                    self.again(State::Data)
                }
            },
            State::EndTagOpen => match byte {
                b'>' => self.go(State::Data),
                _ if self.starts_name(byte) => self.open_tag(true),
                _ => self.again(State::BogusComment),
            },
            State::TagName => {
                if !ends_tag_name(byte) {
                    let name = up_to(rest, rest.iter().position(|byte| ends_tag_name(*byte)));
                    self.tag_name.extend(name);
                    return name.len();
                }
                if !self.is_end_tag {
                    sink.start_tag(&self.tag_name);
                }
                match byte {
                    b'/' => self.go(State::SelfClosing),
                    b'>' => self.end_tag(false, sink),
                    _ => self.go(State::BeforeAttributeName),
                }
            }
            State::BeforeAttributeName => match (self.part(rest, sink), byte) {
                (Some(len), _) => len,
                (None, byte) if byte.is_ascii_whitespace() => {
                    up_to(rest, rest.iter().position(|byte| !byte.is_ascii_whitespace())).len()
                }
                (None, b'/' | b'>') => self.again(State::AfterAttributeName),
                (None, _) => {
                    // A `=` in this place is the first byte of the name.
                    self.name.clear();
                    self.name.push(byte);
                    self.go(State::AttributeName)
                }
            },
            State::AttributeName => match byte {
                b'=' => {
                    self.begin_value(sink);
                    self.go(State::BeforeValue)
                }
                byte if ends_tag_name(byte) => {
                    self.begin_value(sink);
                    self.again(State::AfterAttributeName)
                }
                _ => {
                    let name = up_to(rest, rest.iter().position(|byte| ends_attribute_name(*byte)));
                    self.name.extend(name);
                    name.len()
                }
            },
            State::AfterAttributeName => match byte {
                byte if byte.is_ascii_whitespace() => 1,
                b'=' => self.go(State::BeforeValue),
                b'/' => {
                    self.end_value(sink);
                    self.go(State::SelfClosing)
                }
                b'>' => self.end_tag(false, sink),
                _ => {
                    self.end_value(sink);
                    self.again(State::BeforeAttributeName)
                }
            },
            State::BeforeValue => match byte {
                byte if byte.is_ascii_whitespace() => 1,
                b'"' | b'\'' => self.go(State::QuotedValue(byte)),
                b'>' => self.end_tag(false, sink),
                _ => self.again(State::UnquotedValue),
            },
            State::QuotedValue(quote) => match memchr(quote, rest) {
                Some(0) => {
                    self.end_value(sink);
                    self.go(State::AfterValue)
                }
                end => self.value(up_to(rest, end), sink),
            },
            State::UnquotedValue => {
                match rest.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>') {
                    Some(0) if byte == b'>' => self.end_tag(false, sink),
                    Some(0) => {
                        self.end_value(sink);
                        self.go(State::BeforeAttributeName)
                    }
                    end => self.value(up_to(rest, end), sink),
                }
            }
            State::AfterValue => match byte {
                byte if byte.is_ascii_whitespace() => self.go(State::BeforeAttributeName),
                b'/' => self.go(State::SelfClosing),
                b'>' => self.end_tag(false, sink),
                _ => self.again(State::BeforeAttributeName),
            },
            State::SelfClosing if byte == b'>' => self.end_tag(true, sink),
            State::SelfClosing => self.again(State::BeforeAttributeName),
            State::MarkupDeclaration => self.markup_declaration(byte, sink),
            State::BogusComment | State::Doctype => self.until(b'>', State::Data, rest),
            State::CommentStart => match byte {
                b'-' => self.go(State::CommentStartDash),
                b'>' => self.go(State::Data),
                _ => self.again(State::Comment),
            },
            State::CommentStartDash => match byte {
                b'-' => self.go(State::CommentEnd),
                b'>' => self.go(State::Data),
                _ => self.again(State::Comment),
            },
            State::Comment => self.until(b'-', State::CommentEndDash, rest),
            State::CommentEndDash if byte == b'-' => self.go(State::CommentEnd),
            State::CommentEndDash => self.again(State::Comment),
            State::CommentEnd => match byte {
                b'>' => self.go(State::Data),
                b'!' if self.syntax == Syntax::Html => self.go(State::CommentEndBang),
                b'-' => 1,
                _ => self.again(State::Comment),
            },
            State::CommentEndBang => match byte {
                b'-' => self.go(State::CommentEndDash),
                b'>' => self.go(State::Data),
                _ => self.again(State::Comment),
            },
            State::XmlDoctype { quote: 0, is_in_subset: false } => match byte {
                b'>' => self.go(State::Data),
                b'[' => self.go(State::XmlDoctype { quote: 0, is_in_subset: true }),
                b'"' | b'\'' => self.go(State::XmlDoctype { quote: byte, is_in_subset: false }),
                _ => 1,
            },
            State::XmlDoctype { quote: 0, is_in_subset: true } => {
                self.until(b']', State::XmlDoctype { quote: 0, is_in_subset: false }, rest)
            }
            State::XmlDoctype { quote, is_in_subset } => {
                self.until(quote, State::XmlDoctype { quote: 0, is_in_subset }, rest)
            }
            State::XmlInstruction { is_at_mark: true } if byte == b'>' => self.go(State::Data),
            State::XmlInstruction { .. } => self.go(State::XmlInstruction { is_at_mark: byte == b'?' }),
            State::Cdata => match memchr(b']', rest) {
                Some(0) => self.go(State::CdataBracket),
                end => self.text(up_to(rest, end), false, sink),
            },
            State::CdataBracket if byte == b']' => self.go(State::CdataEnd),
            State::CdataBracket => self.no_cdata_end(b"]", State::Cdata, sink),
            State::CdataEnd => match byte {
                b']' => self.no_cdata_end(b"]", State::CdataEnd, sink).saturating_add(1),
                b'>' => self.go(State::Data),
                _ => self.no_cdata_end(b"]]", State::Cdata, sink),
            },
            State::Plaintext => rest.len(),
            _ => self.text_step(byte, rest, sink),
        }
    }

    fn markup_declaration<S: Sink>(&mut self, byte: u8, sink: &S) -> usize {
        let mut seen = self.name;
        seen.push(byte);
        let is_start_of = |text: &[u8]| text.starts_with(seen.as_bytes());
        let is_cdata_case = byte == b'[' || byte.is_ascii_uppercase();
        if seen.is(b"--") {
            return self.go(match self.syntax {
                Syntax::Html => State::CommentStart,
                Syntax::Xml => State::Comment,
            });
        }
        if seen.is(b"doctype") {
            return self.go(match self.syntax {
                Syntax::Html => State::Doctype,
                Syntax::Xml => State::XmlDoctype { quote: 0, is_in_subset: false },
            });
        }
        if is_start_of(b"[cdata[") && is_cdata_case {
            if seen.is(b"[cdata[") {
                let is_cdata = self.syntax == Syntax::Xml || sink.allows_cdata();
                return self.go(if is_cdata { State::Cdata } else { State::BogusComment });
            }
        } else if !(is_start_of(b"--") || is_start_of(b"doctype")) {
            return self.again(State::BogusComment);
        }
        self.name = seen;
        1
    }

    fn go(&mut self, state: State) -> usize {
        self.state = state;
        1
    }

    fn again(&mut self, state: State) -> usize {
        self.state = state;
        0
    }

    fn until(&mut self, byte: u8, state: State, rest: &[u8]) -> usize {
        match memchr(byte, rest) {
            Some(end) => {
                self.state = state;
                end.saturating_add(1)
            }
            None => rest.len(),
        }
    }

    fn starts_name(&self, byte: u8) -> bool {
        byte.is_ascii_alphabetic()
            || (self.syntax == Syntax::Xml && (matches!(byte, b'_' | b':') || !byte.is_ascii()))
    }

    fn open_tag(&mut self, is_end_tag: bool) -> usize {
        self.tag_name.clear();
        self.is_end_tag = is_end_tag;
        self.again(State::TagName)
    }

    fn begin_value<S: Sink>(&mut self, sink: &mut S) {
        self.wants_value = !self.is_end_tag && sink.attribute(&self.name);
    }

    fn text<S: Sink>(&self, piece: &[u8], is_decoded: bool, sink: &mut S) -> usize {
        if sink.wants_text() {
            sink.text(piece, self.at, is_decoded);
        }
        piece.len()
    }

    /// What looked like the end of a CDATA section is text; of three brackets the first one is.
    fn no_cdata_end<S: Sink>(&mut self, brackets: &[u8], state: State, sink: &mut S) -> usize {
        let seen = if state == State::CdataEnd { 2 } else { offset(brackets.len()) };
        if sink.wants_text() {
            sink.text(brackets, self.at.saturating_sub(seen), false);
        }
        self.again(state)
    }

    fn value<S: Sink>(&mut self, piece: &[u8], sink: &mut S) -> usize {
        if self.wants_value {
            sink.value(piece, self.at);
        }
        piece.len()
    }

    fn end_value<S: Sink>(&mut self, sink: &mut S) {
        if std::mem::take(&mut self.wants_value) {
            sink.value_end(self.at);
        }
    }

    /// At the `>` of a tag.
    fn end_tag<S: Sink>(&mut self, is_self_closing: bool, sink: &mut S) -> usize {
        self.end_value(sink);
        if self.is_end_tag {
            if self.syntax == Syntax::Html && self.tag_name.is(b"noscript") {
                self.noscript = None;
            }
            sink.end_tag(&self.tag_name, self.at);
            return self.go(State::Data);
        }
        let content = sink.start_tag_end(is_self_closing);
        if content == Content::Noscript {
            self.noscript.get_or_insert(0);
        }
        self.go(match content {
            Content::Markup | Content::Noscript => State::Data,
            Content::Text => State::Text,
            Content::Script => State::Script,
            Content::Plaintext => State::Plaintext,
        })
    }
}

fn up_to(bytes: &[u8], end: Option<usize>) -> &[u8] {
    end.and_then(|end| bytes.get(..end)).unwrap_or(bytes)
}

fn ends_tag_name(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>')
}

fn ends_attribute_name(byte: u8) -> bool {
    byte == b'=' || ends_tag_name(byte)
}

#[cfg(test)]
mod conformance;
