//! The policy, applied by hand to what a parser says: slow, and written without a look at the engine.

use cssparser::{ParseError, Parser, ParserInput, Token};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urls {
    AsWritten,
    Upgraded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Html,
    Svg,
    Other,
}

pub(crate) const OWN_HOST: &str = "own.example";

/// The value of an attribute as it has to be; `others` are all attributes of the element.
pub(crate) fn attribute(
    space: Space,
    element: &str,
    name: &str,
    value: &str,
    others: &[(String, String)],
) -> String {
    match (space, element, name) {
        (_, _, "style") => css(value, Urls::Upgraded),
        (Space::Html, "img" | "source", "srcset") => srcset(value),
        (Space::Html, "link", "href" | "imagesrcset") if !is_fetched(others) => value.to_owned(),
        (Space::Html, "link", "imagesrcset") => srcset(value),
        (Space::Html, "base", "href") => base(value),
        (
            Space::Html,
            "img" | "script" | "iframe" | "frame" | "embed" | "input" | "source" | "video" | "audio"
            | "track",
            "src",
        )
        | (Space::Html, "video", "poster")
        | (Space::Html, "object", "data")
        | (Space::Html, "body" | "table" | "thead" | "tbody" | "tfoot" | "tr" | "td" | "th", "background")
        | (Space::Html, "link", "href")
        | (Space::Svg, "image" | "feImage" | "use" | "script", "href" | "xlink:href") => url(value),
        _ => value.to_owned(),
    }
}

fn is_fetched(attributes: &[(String, String)]) -> bool {
    const FETCHED: &str = "stylesheet icon apple-touch-icon apple-touch-icon-precomposed apple-touch-startup-image \
        compression-dictionary dns-prefetch manifest mask-icon modulepreload preconnect prefetch preload prerender";
    let rel = attributes.iter().find(|(name, _)| name == "rel").map(|(_, value)| value.to_ascii_lowercase());
    rel.is_some_and(|rel| {
        rel.split_ascii_whitespace().any(|word| FETCHED.split_ascii_whitespace().any(|known| known == word))
    })
}

pub(crate) fn url(text: &str) -> String {
    upgrade(text, |host, _| {
        let is_local = host == "localhost" || host.ends_with(".localhost");
        // A last label of digits is that of an address, or of none.
        let is_number = host.rsplit('.').next().unwrap().bytes().all(|byte| byte.is_ascii_digit());
        !is_local && !is_number
    })
}

fn base(text: &str) -> String {
    // With another port it is another origin.
    upgrade(text, |host, has_port| host == OWN_HOST && !has_port)
}

fn upgrade(text: &str, admits: impl Fn(&str, bool) -> bool) -> String {
    let lead = text.len() - text.trim_start_matches(|char| char <= ' ').len();
    let Some((scheme, rest)) = text[lead..].split_once(':') else { return text.to_owned() };
    let slashes = rest.len() - rest.trim_start_matches(['/', '\\', '\t', '\n', '\r']).len();
    let (slashes, rest) = rest.split_at(slashes);
    if !scheme.eq_ignore_ascii_case("http") || slashes.trim_matches(['\t', '\n', '\r']).len() < 2 {
        return text.to_owned();
    }
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.trim_end_matches(|char| char <= ' ').len());
    let (authority, tail) = rest.split_at(end);
    let host_at = authority.rfind('@').map_or(0, |at| at + 1);
    let (host, port) = match authority[host_at..].rfind(':') {
        Some(colon) if !authority[host_at + colon..].contains(']') => {
            (&authority[host_at..host_at + colon], &authority[host_at + colon..])
        }
        _ => (&authority[host_at..], ""),
    };
    let plain = |text: &str| text.replace(['\t', '\n', '\r'], "");
    let name = plain(host).to_lowercase();
    let digits = plain(port);
    let (port, has_port) = match digits.trim_start_matches(':') {
        "" => (port, false),
        digits => match digits.parse::<u16>() {
            Ok(80) => (port.trim_start_matches(|char: char| ":0123456789\t\n\r".contains(char)), false),
            Ok(_) => (port, true),
            Err(_) => return text.to_owned(),
        },
    };
    let is_of_name = |char: char| {
        char.is_alphanumeric() || "-_.".contains(char) || (!char.is_ascii() && char != '\u{fffd}')
    };
    if name.is_empty() || !name.chars().all(is_of_name) || !admits(name.trim_end_matches('.'), has_port) {
        return text.to_owned();
    }
    [&text[..lead], "https:", slashes, &authority[..host_at], host, port, tail].concat()
}

/// Parsing a srcset attribute (HTML Standard, section 4.8.4.3.12), step by step.
pub(crate) fn srcset(text: &str) -> String {
    let is_blank = |char: char| matches!(char, '\t' | '\n' | '\x0c' | '\r' | ' ');
    let (mut out, mut rest) = (String::new(), text);
    loop {
        let start = rest.len() - rest.trim_start_matches(|char| is_blank(char) || char == ',').len();
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        if rest.is_empty() {
            return out;
        }
        let (candidate, after) = rest.split_at(rest.find(is_blank).unwrap_or(rest.len()));
        let trimmed = candidate.trim_end_matches(',');
        out.push_str(&url(trimmed));
        out.push_str(&candidate[trimmed.len()..]);
        rest = after;
        if trimmed.len() < candidate.len() {
            continue;
        }
        let mut is_in_parentheses = false;
        let end = rest.find(|char| {
            match char {
                '(' => is_in_parentheses = true,
                ')' => is_in_parentheses = false,
                _ => {}
            }
            char == ',' && !is_in_parentheses
        });
        let (descriptors, after) = rest.split_at(end.unwrap_or(rest.len()));
        out.push_str(descriptors);
        rest = after;
    }
}

/// The hosts of the URLs of a style sheet that are upgraded.
pub(crate) fn css_hosts(text: &str) -> Vec<String> {
    let mut input = ParserInput::new(text);
    let mut sheet = Sheet { out: String::new(), rule: Rule::Other, urls: Urls::Upgraded, found: Vec::new() };
    sheet.block(&mut Parser::new(&mut input), false);
    let host = |url: &String| {
        let host = url.split("//").nth(1).unwrap().split(['/', '?', '#']).next().unwrap();
        host.split(':').next().unwrap().to_lowercase()
    };
    sheet.found.iter().map(host).collect()
}

/// The tokens of a style sheet, as text, with upgraded URLs: two sheets that a browser reads alike give one text.
pub(crate) fn css(text: &str, urls: Urls) -> String {
    let mut input = ParserInput::new(text);
    let mut sheet = Sheet { out: String::new(), rule: Rule::Other, urls, found: Vec::new() };
    sheet.block(&mut Parser::new(&mut input), false);
    sheet.out
}

#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Other,
    Import,
    Names,
}

struct Sheet {
    out: String,
    rule: Rule,
    urls: Urls,
    found: Vec<String>,
}

impl Sheet {
    fn block(&mut self, parser: &mut Parser<'_, '_>, is_image_set: bool) {
        while let Ok(token) = parser.next_including_whitespace_and_comments().cloned() {
            let is_names = self.rule == Rule::Names;
            let mut shown = |value: &str, is_url: bool| {
                let upgraded = url(value);
                match self.urls {
                    Urls::Upgraded if is_url && upgraded != value => {
                        self.found.push(upgraded.clone());
                        upgraded
                    }
                    _ => value.to_owned(),
                }
            };
            match &token {
                Token::AtKeyword(name) => {
                    self.rule = match &*name.to_ascii_lowercase() {
                        "import" => Rule::Import,
                        "namespace" | "document" | "-moz-document" => Rule::Names,
                        _ => Rule::Other,
                    };
                    self.out.push_str(&format!("@{name} "));
                }
                Token::Semicolon => self.rule = Rule::Other,
                Token::UnquotedUrl(value) => {
                    self.out.push_str(&format!("url({:?}) ", shown(value, !is_names)));
                    self.rule = if self.rule == Rule::Import { Rule::Other } else { self.rule };
                }
                Token::QuotedString(value) => {
                    let is_url = is_image_set || self.rule == Rule::Import;
                    self.out.push_str(&format!("string {:?} ", shown(value, is_url)));
                    self.rule = if self.rule == Rule::Import { Rule::Other } else { self.rule };
                }
                Token::Function(name) => {
                    let name = name.to_ascii_lowercase();
                    self.out.push_str(&format!("{name}( "));
                    let is_image_set = matches!(&*name, "image-set" | "-webkit-image-set");
                    if name == "url" && self.rule == Rule::Import {
                        self.rule = Rule::Other;
                    }
                    self.nested(parser, is_image_set || (name == "url" && !is_names));
                    self.out.push_str(") ");
                }
                Token::ParenthesisBlock | Token::SquareBracketBlock => {
                    self.out.push_str("( ");
                    self.nested(parser, false);
                    self.out.push_str(") ");
                }
                Token::CurlyBracketBlock => {
                    self.rule = Rule::Other;
                    self.out.push_str("{ ");
                    self.nested(parser, false);
                    self.out.push_str("} ");
                    self.rule = Rule::Other;
                }
                Token::CloseCurlyBracket => {
                    self.rule = Rule::Other;
                    self.out.push_str("stray } ");
                }
                broken @ (Token::BadString(_) | Token::BadUrl(_)) => {
                    self.out.push_str(&format!("{broken:?} "));
                    self.rule = if self.rule == Rule::Import { Rule::Other } else { self.rule };
                }
                other => self.out.push_str(&format!("{other:?} ")),
            }
        }
    }

    fn nested(&mut self, parser: &mut Parser<'_, '_>, is_image_set: bool) {
        let _ = parser.parse_nested_block(|parser| {
            self.block(parser, is_image_set);
            Ok::<(), ParseError<'_, ()>>(())
        });
    }
}
