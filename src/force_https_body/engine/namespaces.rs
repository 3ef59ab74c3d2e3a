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
/// HTML elements are not tracked: an end tag is taken to close what it names.
#[derive(Debug)]
pub(super) struct Namespaces {
    syntax: Syntax,
    open: Vec<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    name: Name,
    content: Namespace,
    /// No element was opened in it yet.
    is_fresh: bool,
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
        self.open.last().is_some_and(|open| open.content != Namespace::Html || open.is_fresh)
    }

    /// The namespace of the element that a start tag opens.
    pub(super) fn of_start_tag(&mut self, name: &Name) -> Namespace {
        if self.syntax == Syntax::Html && self.current() != Namespace::Html && breaks_out(name) {
            self.break_out();
        }
        match (self.current(), name.as_bytes()) {
            (Namespace::Html | Namespace::MathMl, b"svg") => Namespace::Svg,
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

    pub(super) fn start_tag_end(
        &mut self,
        name: &Name,
        namespace: Namespace,
        is_html_annotation: bool,
        is_self_closing: bool,
    ) {
        if let Some(open) = self.open.last_mut() {
            open.is_fresh = false;
        }
        if is_self_closing && namespace != Namespace::Html {
            return;
        }
        let content = match (namespace, name.as_bytes()) {
            (Namespace::Svg, b"svg") => Namespace::Svg,
            (Namespace::MathMl, b"math") => Namespace::MathMl,
            (Namespace::Svg, b"foreignobject" | b"desc" | b"title") => Namespace::Html,
            (Namespace::MathMl, b"mi" | b"mo" | b"mn" | b"ms" | b"mtext") => Namespace::Html,
            (Namespace::MathMl, b"annotation-xml") if is_html_annotation => Namespace::Html,
            _ => return,
        };
        if self.open.len() < MAX_DEPTH {
            self.open.push(Open { name: *name, content, is_fresh: true });
        }
    }

    pub(super) fn end_tag(&mut self, name: &Name) {
        let Some(top) = self.open.last() else { return };
        if top.name.is(name.as_bytes()) {
            self.open.pop();
        } else if top.content != Namespace::Html {
            // Such an element cannot stand in foreign content: it is an HTML element around it that ends.
            if self.syntax == Syntax::Html && breaks_out(name) && !name.is(b"body") && !name.is(b"head") {
                self.break_out();
            }
        } else if top.is_fresh {
            let below = self.open.len().saturating_sub(2);
            if self.open.get(below).is_some_and(|open| open.name.is(name.as_bytes())) {
                self.open.truncate(below);
            }
        }
    }
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
