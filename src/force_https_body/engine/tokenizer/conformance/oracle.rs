//! The tokens of a page as html5ever sees them.

use std::cell::{Cell, RefCell};

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::{Rawtext, Rcdata, ScriptData};
use html5ever::tokenizer::{
    BufferQueue, TagKind, Token as Seen, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::super::Content;
use super::{Modes, Scripting, Token, Tokens};
use crate::force_https_body::engine::name::Name;

pub(super) fn record(page: &str, scripting: Scripting) -> Tokens {
    let sink = Oracle {
        modes: RefCell::new(Modes::new(scripting)),
        tokens: RefCell::default(),
        text: RefCell::default(),
        at: Cell::new(0),
    };
    let options = TokenizerOpts { discard_bom: false, ..TokenizerOpts::default() };
    let tokenizer = Tokenizer::new(sink, options);
    let queue = BufferQueue::default();
    for (at, char) in page.char_indices() {
        tokenizer.sink.at.set(at + char.len_utf8());
        queue.push_back(StrTendril::from_char(char));
        let _ = tokenizer.feed(&queue);
    }
    tokenizer.end();
    tokenizer.sink.end_text();
    tokenizer.sink.tokens.take()
}

struct Oracle {
    modes: RefCell<Modes>,
    tokens: RefCell<Tokens>,
    text: RefCell<String>,
    at: Cell<usize>,
}

impl Oracle {
    fn end_text(&self) {
        self.tokens.borrow_mut().push_text(&self.text.take());
    }

    fn push(&self, token: Token) {
        self.end_text();
        self.tokens.borrow_mut().list.push((self.at.get(), token));
    }
}

impl TokenSink for Oracle {
    type Handle = ();

    fn process_token(&self, token: Seen, _: u64) -> TokenSinkResult<()> {
        match token {
            Seen::CharacterTokens(text) => self.text.borrow_mut().push_str(&text),
            Seen::NullCharacterToken => self.text.borrow_mut().push('\0'),
            Seen::CommentToken(text) => self.push(Token::Comment(text.to_string())),
            Seen::DoctypeToken(_) => self.push(Token::Doctype),
            Seen::TagToken(tag) if tag.kind == TagKind::EndTag => {
                let name = known(&tag.name);
                self.modes.borrow_mut().end(&name);
                self.push(Token::End(name));
            }
            Seen::TagToken(tag) => {
                let (name, is_self_closing) = (known(&tag.name), tag.self_closing);
                let mut attributes: Vec<(String, String)> = Vec::new();
                for attribute in &tag.attrs {
                    let name = known(&attribute.name.local);
                    // All long names are one to our tokenizer.
                    if attributes.iter().all(|(other, _)| *other != name) {
                        attributes.push((name, attribute.value.to_string()));
                    }
                }
                let content = self.modes.borrow_mut().start(&name, is_self_closing);
                let is_rcdata = matches!(&*name, "title" | "textarea");
                self.push(Token::Start { name, attributes, is_self_closing });
                return match content {
                    Content::Markup | Content::Noscript => TokenSinkResult::Continue,
                    Content::Text if is_rcdata => TokenSinkResult::RawData(Rcdata),
                    Content::Text => TokenSinkResult::RawData(Rawtext),
                    Content::Script => TokenSinkResult::RawData(ScriptData),
                    Content::Plaintext => TokenSinkResult::Plaintext,
                };
            }
            Seen::EOFToken | Seen::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.modes.borrow().is_foreign()
    }
}

fn known(name: &str) -> String {
    let name = name.replace('\u{fffd}', "\0");
    if Name::of(name.as_bytes()).is(b"") { "a long name".to_owned() } else { name }
}
