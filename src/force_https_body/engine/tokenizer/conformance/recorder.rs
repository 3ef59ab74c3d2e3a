//! The tokens of a page as this tokenizer sees them.

use std::ops::Range;

use super::super::{Content, Sink, State, Syntax, Tokenizer};
use super::{Modes, Scripting, Token, Tokens};
use crate::force_https_body::engine::name::Name;
use crate::force_https_body::engine::reference::References;

/// Reads byte by byte, so that each state can be seen.
pub(super) fn record(page: &str, scripting: Scripting) -> Tokens {
    let mut tokenizer = Tokenizer::new(Syntax::Html);
    let mut recorder = Recorder::new(page, scripting);
    for at in 0..page.len() {
        let before = tokenizer.state;
        recorder.at = at + 1;
        tokenizer.read(&page.as_bytes()[at..=at], &mut recorder);
        recorder.step(before, tokenizer.state);
        if tokenizer.state == State::TextLessThan || tokenizer.state == State::ScriptLessThan {
            assert_eq!(tokenizer.text_lt_at, at as u64);
        }
    }
    recorder.finish(tokenizer.state);
    let whole = pieces(page, scripting, page.len().max(1));
    assert_eq!(whole, pieces(page, scripting, 1), "{page:?} as a whole and byte by byte");
    recorder.tokens
}

/// What the sink is told, with joined pieces.
fn pieces(page: &str, scripting: Scripting, len: usize) -> Vec<Told> {
    let mut recorder = Recorder::new(page, scripting);
    let mut tokenizer = Tokenizer::new(Syntax::Html);
    for mut piece in page.as_bytes().chunks(len) {
        while !piece.is_empty() {
            piece = &piece[tokenizer.read(piece, &mut recorder)..];
        }
    }
    assert_eq!(tokenizer.position(), page.len() as u64);
    recorder.told
}

#[derive(Debug, PartialEq)]
enum Told {
    Start(String),
    Attribute(String),
    Value(Range<usize>),
    ValueEnd(u64),
    StartEnd(bool),
    End(String, u64),
    Abandoned,
    Text(Range<usize>, bool),
}

struct Recorder<'a> {
    page: &'a [u8],
    modes: Modes,
    tokens: Tokens,
    told: Vec<Told>,
    /// How many bytes were read.
    at: usize,
    text: Vec<u8>,
    /// Where the `<` of what may be markup stands, in the page and in the text.
    open: (usize, usize),
    name: String,
    attributes: Vec<(String, String)>,
    references: References,
    value: Vec<u8>,
}

impl<'a> Recorder<'a> {
    fn new(page: &'a str, scripting: Scripting) -> Self {
        Self {
            page: page.as_bytes(),
            modes: Modes::new(scripting),
            tokens: Tokens::default(),
            told: Vec::new(),
            at: 0,
            text: Vec::new(),
            open: (0, 0),
            name: String::new(),
            attributes: Vec::new(),
            references: References::default(),
            value: Vec::new(),
        }
    }

    fn step(&mut self, before: State, after: State) {
        self.tokens.states.push(format!("{after:?}"));
        let byte = self.page[self.at - 1];
        if self.tokens.list.last().is_some_and(|(end, _)| *end == self.at) {
            return;
        }
        let opens = matches!(
            after,
            State::TagOpen | State::TextLessThan | State::ScriptLessThan | State::ScriptEscapedLessThan
        );
        if byte == b'<' && opens {
            self.open = (self.at - 1, self.text.len());
        }
        self.text.push(byte);
        let content = self.content();
        let is_data = after == State::Data;
        match before {
            State::BogusComment | State::MarkupDeclaration | State::EndTagOpen if is_data => {
                // `</>` is nothing at all.
                let comment = (before != State::EndTagOpen).then(|| self.slice(content, 1));
                self.markup(comment.map(Token::Comment));
            }
            State::CommentStart | State::CommentStartDash if is_data => {
                self.markup(Some(Token::Comment(String::new())));
            }
            State::CommentEnd if is_data => {
                let comment = self.slice(content, 3);
                self.markup(Some(Token::Comment(comment)));
            }
            State::CommentEndBang if is_data => {
                let comment = self.slice(content, 4);
                self.markup(Some(Token::Comment(comment)));
            }
            State::Doctype if is_data => self.markup(Some(Token::Doctype)),
            State::MarkupDeclaration if after == State::Cdata => self.text.truncate(self.open.1),
            State::CdataEnd if is_data => self.text.truncate(self.text.len() - 3),
            _ => {}
        }
    }

    fn finish(&mut self, state: State) {
        let content = self.content();
        let comment = |cut| Some(Token::Comment(self.slice(content, cut)));
        let last = match state {
            State::BogusComment | State::MarkupDeclaration | State::Comment => comment(0),
            State::CommentStart | State::CommentStartDash => Some(Token::Comment(String::new())),
            State::CommentEndDash => comment(1),
            State::CommentEnd => comment(2),
            State::CommentEndBang => comment(3),
            State::Doctype => Some(Token::Doctype),
            State::TagName
            | State::BeforeAttributeName
            | State::AttributeName
            | State::AfterAttributeName
            | State::BeforeValue
            | State::QuotedValue(_)
            | State::UnquotedValue
            | State::AfterValue
            | State::SelfClosing => None,
            _ => return self.end_text(),
        };
        self.markup(last);
        self.end_text();
    }

    /// Where the text of a comment begins.
    fn content(&self) -> usize {
        let open = self.open.0;
        match self.page.get(open..).unwrap_or_default() {
            [b'<', b'!', b'-', b'-', ..] => open + 4,
            [b'<', b'?', ..] => open + 1,
            _ => open + 2,
        }
    }

    fn slice(&self, from: usize, cut: usize) -> String {
        String::from_utf8(self.page[from..(self.at - cut).max(from)].to_vec()).unwrap()
    }

    /// What was open is no text.
    fn markup(&mut self, token: Option<Token>) {
        self.text.truncate(self.open.1);
        if let Some(token) = token {
            self.end_text();
            self.tokens.list.push((self.at, token));
        }
    }

    fn end_text(&mut self) {
        let text = String::from_utf8(std::mem::take(&mut self.text)).unwrap();
        self.tokens.push_text(&text);
        self.open.1 = 0;
    }

    /// Bytes that follow each other are one piece.
    fn tell(&mut self, piece: &[u8], at: u64, make: fn(Range<usize>, bool) -> Told, is_decoded: bool) {
        let at = usize::try_from(at).unwrap();
        assert_eq!(piece.to_ascii_lowercase(), self.page[at..at + piece.len()].to_ascii_lowercase());
        let range = at..at + piece.len();
        match self.told.last_mut() {
            Some(Told::Value(last)) if make(range.clone(), false) == Told::Value(range.clone()) => {
                assert!(last.end <= at);
                last.end = range.end;
            }
            Some(Told::Text(last, was_decoded))
                if last.end == at
                    && *was_decoded == is_decoded
                    && make(0..0, is_decoded) == Told::Text(0..0, is_decoded) =>
            {
                last.end = range.end;
            }
            _ => self.told.push(make(range, is_decoded)),
        }
    }
}

impl Sink for Recorder<'_> {
    fn start_tag(&mut self, name: &Name) {
        self.name = text(name);
        self.attributes.clear();
        self.told.push(Told::Start(text(name)));
    }

    fn may_want(&self, _: &[u8]) -> bool {
        true
    }

    fn attribute(&mut self, name: &Name) -> bool {
        self.attributes.push((text(name), String::new()));
        self.told.push(Told::Attribute(text(name)));
        (self.references, self.value) = (References::default(), Vec::new());
        true
    }

    fn value(&mut self, piece: &[u8], at: u64) {
        self.tell(piece, at, |range, _| Told::Value(range), false);
        for (byte, at) in piece.iter().zip(at..) {
            self.references.feed(*byte, at, &mut |unit| self.value.push(unit.byte));
            self.tokens.states.push(self.references.state_name());
        }
    }

    fn value_end(&mut self, at: u64) {
        self.told.push(Told::ValueEnd(at));
        self.references.end(at, &mut |unit| self.value.push(unit.byte));
        let value = String::from_utf8(std::mem::take(&mut self.value)).unwrap();
        self.attributes.last_mut().unwrap().1 = value;
    }

    fn start_tag_end(&mut self, is_self_closing: bool) -> Content {
        self.told.push(Told::StartEnd(is_self_closing));
        let mut attributes: Vec<(String, String)> = Vec::new();
        for (name, value) in self.attributes.drain(..) {
            if attributes.iter().all(|(other, _)| *other != name) {
                attributes.push((name, value));
            }
        }
        let name = std::mem::take(&mut self.name);
        let content = self.modes.start(&name, is_self_closing);
        self.markup(Some(Token::Start { name, attributes, is_self_closing }));
        content
    }

    fn end_tag(&mut self, name: &Name, at: u64) {
        self.told.push(Told::End(text(name), at));
        self.modes.end(&text(name));
        self.markup(Some(Token::End(text(name))));
    }

    fn abandon_tag(&mut self) {
        self.attributes.clear();
        self.told.push(Told::Abandoned);
    }

    fn text(&mut self, piece: &[u8], at: u64, is_decoded: bool) {
        self.tell(piece, at, Told::Text, is_decoded);
    }

    fn wants_text(&self) -> bool {
        true
    }

    fn allows_cdata(&self) -> bool {
        self.modes.is_foreign()
    }
}

fn text(name: &Name) -> String {
    if name.is(b"") {
        "a long name".to_owned()
    } else {
        String::from_utf8_lossy(name.as_bytes()).into_owned()
    }
}
