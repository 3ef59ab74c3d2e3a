//! In which namespace an element stands (HTML Standard, section 13.2.6.5), as far as the tokenizer must know.

use super::name::Name;
use super::tokenizer::Syntax;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Namespace {
    #[default]
    Html,
    Svg,
    MathMl,
}

/// The `svg` and `math` elements that are open, and the places inside of them that hold HTML again.
///
/// All other elements are counted, not tracked: an end tag is taken to close what it names.
#[derive(Debug)]
pub(super) struct Namespaces {
    syntax: Syntax,
    open: Vec<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    name: Name,
    content: Namespace,
    /// How many elements are open in it that are not tracked.
    inside: u32,
}

/// Browsers nest no deeper.
const MAX_DEPTH: usize = 512;

impl Namespaces {
    pub(super) fn new(syntax: Syntax) -> Self {
        Self { syntax, open: Vec::new() }
    }

    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    pub(super) fn truncate(&mut self, depth: usize) {
        self.open.truncate(depth);
    }

    pub(super) fn current(&self) -> Namespace {
        self.open.last().map(|open| open.content).unwrap_or_default()
    }

    pub(super) fn allows_cdata(&self) -> bool {
        self.open.last().is_some_and(|open| open.content != Namespace::Html || open.inside == 0)
    }

    /// The namespace of the element that a start tag opens.
    pub(super) fn of_start_tag(&mut self, name: &Name) -> Namespace {
        if self.syntax == Syntax::Html && self.current() != Namespace::Html && breaks_out(name) {
            self.break_out();
        }
        let is_in_annotation =
            || self.open.last().is_some_and(|open| open.name.is(b"annotation-xml") && open.inside == 0);
        match (self.current(), name.as_bytes()) {
            (Namespace::Html, b"svg") => Namespace::Svg,
            (Namespace::MathMl, b"svg") if is_in_annotation() => Namespace::Svg,
            (Namespace::Html, b"math") => Namespace::MathMl,
            (current, _) => current,
        }
    }

    /// A `font` with attributes of HTML, or the end tags `</p>` and `</br>`, end foreign content.
    pub(super) fn break_out(&mut self) {
        while self.current() != Namespace::Html {
            self.open.pop();
        }
    }

    /// An element that has an end tag to come was opened.
    pub(super) fn open(&mut self, name: &Name, namespace: Namespace, is_html_annotation: bool) {
        let content = match (namespace, name.as_bytes()) {
            (Namespace::Svg, b"svg") => Some(Namespace::Svg),
            (Namespace::MathMl, b"math") => Some(Namespace::MathMl),
            (Namespace::Svg, b"foreignobject" | b"desc" | b"title") => Some(Namespace::Html),
            (Namespace::MathMl, b"mi" | b"mo" | b"mn" | b"ms" | b"mtext") => Some(Namespace::Html),
            (Namespace::MathMl, b"annotation-xml") if is_html_annotation => Some(Namespace::Html),
            (Namespace::MathMl, b"annotation-xml") => Some(Namespace::MathMl),
            _ => None,
        };
        if let Some(content) = content.filter(|_| self.open.len() < MAX_DEPTH) {
            self.open.push(Open { name: *name, content, inside: 0 });
        } else if let Some(top) = self.open.last_mut() {
            top.inside = top.inside.saturating_add(1);
        }
    }

    pub(super) fn end_tag(&mut self, name: &Name) {
        for depth in (0..self.open.len()).rev() {
            let Some(open) = self.open.get(depth) else { return };
            if open.name.is(name.as_bytes()) {
                return self.open.truncate(depth);
            }
            if open.inside > 0 {
                break;
            }
        }
        if self.syntax == Syntax::Html && self.current() != Namespace::Html && ends_html(name) {
            self.break_out();
        }
        if let Some(top) = self.open.last_mut() {
            top.inside = top.inside.saturating_sub(1);
        }
    }
}

/// Foreign content has no such elements: it is an HTML element around it that ends.
fn ends_html(name: &Name) -> bool {
    const NAMES: &[&[u8]] = &[
        b"address",
        b"article",
        b"aside",
        b"button",
        b"caption",
        b"fieldset",
        b"figcaption",
        b"figure",
        b"footer",
        b"form",
        b"header",
        b"label",
        b"main",
        b"nav",
        b"section",
        b"tbody",
        b"td",
        b"template",
        b"tfoot",
        b"th",
        b"thead",
        b"tr",
    ];
    NAMES.contains(&name.as_bytes()) || (breaks_out(name) && !name.is(b"body") && !name.is(b"head"))
}

fn breaks_out(name: &Name) -> bool {
    const NAMES: &[&[u8]] = &[
        b"b",
        b"big",
        b"blockquote",
        b"body",
        b"br",
        b"center",
        b"code",
        b"dd",
        b"div",
        b"dl",
        b"dt",
        b"em",
        b"embed",
        b"h1",
        b"h2",
        b"h3",
        b"h4",
        b"h5",
        b"h6",
        b"head",
        b"hr",
        b"i",
        b"img",
        b"li",
        b"listing",
        b"menu",
        b"meta",
        b"nobr",
        b"ol",
        b"p",
        b"pre",
        b"ruby",
        b"s",
        b"small",
        b"span",
        b"strong",
        b"strike",
        b"sub",
        b"sup",
        b"table",
        b"tt",
        b"u",
        b"ul",
        b"var",
    ];
    NAMES.contains(&name.as_bytes())
}
