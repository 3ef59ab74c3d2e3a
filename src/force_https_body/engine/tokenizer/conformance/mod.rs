//! The tokenizer against that of html5ever, token for token: kinds, names, attributes, values, text, and where each
//! token ends.

mod oracle;
mod pages;
mod recorder;
mod states;

use proptest::prelude::*;

use super::Content;

#[derive(Debug, PartialEq)]
enum Token {
    Start { name: String, attributes: Vec<(String, String)>, is_self_closing: bool },
    End(String),
    Comment(String),
    Doctype,
    Text(String),
}

#[derive(Debug, Default)]
struct Tokens {
    /// Each with its end.
    list: Vec<(usize, Token)>,
    /// Of our tokenizer, and of our decoder of references, behind each byte.
    states: Vec<String>,
}

impl Tokens {
    /// Text ends where something else begins.
    fn push_text(&mut self, text: &str) {
        if !text.is_empty() {
            self.list.push((0, Token::Text(text.to_owned())));
        }
    }

    /// As a browser's preprocessing leaves them. Text with references is decoded on one side only.
    fn normal(self, page: &str) -> Vec<(usize, Token)> {
        let normal = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "\u{fffd}");
        let is_comparable =
            |token: &(usize, Token)| !(page.contains('&') && matches!(token.1, Token::Text(_)));
        let each = |(end, token)| {
            let token = match token {
                Token::Text(text) => Token::Text(normal(&text)),
                Token::Comment(text) => Token::Comment(normal(&text)),
                Token::Start { name, mut attributes, is_self_closing } => {
                    attributes.iter_mut().for_each(|(_, value)| *value = normal(value));
                    Token::Start { name, attributes, is_self_closing }
                }
                other => other,
            };
            (end, token)
        };
        self.list.into_iter().filter(is_comparable).map(each).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scripting {
    On,
    Off,
    /// Both at once, as a page is read that is not known to which browser it goes.
    Either,
}

/// What tree construction would say: the same to both tokenizers.
struct Modes {
    scripting: Scripting,
    is_foreign: bool,
}

impl Modes {
    fn new(scripting: Scripting) -> Self {
        Self { scripting, is_foreign: false }
    }

    fn start(&mut self, name: &str, is_self_closing: bool) -> Content {
        if matches!(name, "svg" | "math") && !is_self_closing {
            self.is_foreign = true;
        }
        match name {
            _ if self.is_foreign => Content::Markup,
            "noscript" if self.scripting == Scripting::On => Content::Text,
            "noscript" if self.scripting == Scripting::Either => Content::Noscript,
            "title" | "textarea" | "style" | "xmp" | "iframe" | "noembed" | "noframes" => Content::Text,
            "script" => Content::Script,
            "plaintext" => Content::Plaintext,
            _ => Content::Markup,
        }
    }

    fn end(&mut self, name: &str) {
        if matches!(name, "svg" | "math") || (name == "noscript" && self.scripting == Scripting::Either) {
            self.is_foreign = false;
        }
    }

    fn is_foreign(&self) -> bool {
        self.is_foreign
    }
}

fn assert_conforms(page: &str) {
    for scripting in [Scripting::Off, Scripting::On] {
        let ours = recorder::record(page, scripting).normal(page);
        let theirs = oracle::record(page, scripting).normal(page);
        assert_eq!(ours, theirs, "{page:?}, scripting {scripting:?}");
    }
}

/// Behind its `noscript` the page reads on as with scripting, inside of it as without.
fn assert_noscript_conforms(inside: &str) {
    const AROUND: (&str, &str) =
        ("<p><noscript>", "</noscript\n>a<i b=c><!--d--><script><!--</script><p e='f'>");
    let page = [AROUND.0, inside, AROUND.1].concat();
    let tags = |tokens: Tokens| {
        let is_tag = |token: &Token| matches!(token, Token::Start { .. } | Token::End(_));
        tokens.normal(&page).into_iter().filter(|(_, token)| is_tag(token)).collect::<Vec<_>>()
    };
    let ours = tags(recorder::record(&page, Scripting::Either));
    let on = tags(oracle::record(&page, Scripting::On));
    // The first two tags are those around the content.
    let end = on.get(2).map_or(0, |(end, _)| *end);
    let behind = |tags: &[(usize, Token)]| tags.iter().position(|(at, _)| *at >= end).unwrap_or(tags.len());
    assert_eq!(ours[behind(&ours)..], on[behind(&on)..], "{page:?} behind noscript");
    let content = &page[..page[..end].rfind("</").unwrap()];
    let off = tags(oracle::record(content, Scripting::Off));
    assert_eq!(ours[..behind(&ours)], off[..], "{page:?} in noscript");
}

fn conforms(cases: u32) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config.clone(), |(page in pages::soup())| assert_conforms(&page));
    proptest!(config.clone(), |(page in pages::mutated())| assert_conforms(&page));
    proptest!(config, |(page in pages::soup())| assert_noscript_conforms(&page.replace("noscript", "nobr")));
    println!(
        "{cases} soups and {cases} mutated pages, each with scripting on and off, whole and byte by byte;"
    );
    println!("{cases} soups in noscript");
}

#[test]
fn tokens_are_those_of_html5ever() {
    conforms(1_024);
}

#[test]
#[ignore = "takes minutes without optimisation"]
fn tokens_are_those_of_html5ever_a_hundred_thousand_times() {
    conforms(100_000);
}

#[test]
fn a_name_in_text_that_is_longer_than_any_is_text() {
    assert_conforms(
        "<noscript></title\0html</scripts </textarea\n</templatexabcdefghijklmnopqrstuvwxyz&gt=\n\
         <script><!-<script ->-->--!><!----!>`</sCrIpT>>Bhtml\u{b}abcdefghijklmnopqrstuvwxyz--!>",
    );
    for name in ["style", "title", "script", "noscript"] {
        assert_conforms(&format!("<{name}></{name}abcdefghijklmnopqrstuvwxyz></{name}a></{name}>"));
    }
}
