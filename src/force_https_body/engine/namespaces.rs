//! In which namespace an element stands (HTML Standard, section 13.2.6.5), as far as the tokenizer must know.

use super::elements::{Traits, breaks_out, may_be_around};
use super::html_content::{HtmlContent, Outcome};
use super::name::Name;
use super::open_elements::Key;
use super::tokenizer::{Content, Syntax};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Namespace {
    #[default]
    Html,
    Svg,
    MathMl,
}

/// Follows what is open from the outermost `svg` or `math` on.
///
/// The elements around it are not known. An end tag that closes nothing here, and may be one of theirs, is taken for
/// it: where foreign content is over too early, less of what follows is markup, and less is upgraded.
#[derive(Debug)]
pub(super) struct Namespaces {
    syntax: Syntax,
    content: HtmlContent,
    /// Nothing in a `noscript` of HTML ends what is around it.
    around_noscript: Option<HtmlContent>,
}

/// A start tag that is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartTag<'a> {
    pub(super) name: &'a Name,
    pub(super) namespace: Namespace,
    pub(super) is_html_annotation: bool,
    pub(super) is_self_closing: bool,
}

impl Namespaces {
    pub(super) fn new(syntax: Syntax) -> Self {
        Self { syntax, content: HtmlContent::default(), around_noscript: None }
    }

    /// Nothing is open but elements of HTML.
    pub(super) fn is_plain(&self) -> bool {
        self.content.open.is_empty() && self.around_noscript.is_none()
    }

    pub(super) fn allows_cdata(&self) -> bool {
        !self.content.open.top().has_any_of(Traits::HTML)
    }

    /// The namespace of the element that a start tag opens.
    pub(super) fn of_start_tag(&mut self, name: &Name) -> Namespace {
        if !self.reads_as_html(name) {
            if self.syntax == Syntax::Xml || !breaks_out(Key::of_html(name)) {
                let is_svg = self.content.open.top().has_any_of(Traits::SVG);
                return if is_svg { Namespace::Svg } else { Namespace::MathMl };
            }
            self.break_out();
        }
        match name.as_bytes() {
            b"svg" => Namespace::Svg,
            b"math" => Namespace::MathMl,
            _ => Namespace::Html,
        }
    }

    /// A `font` with attributes of HTML ends foreign content, as other names do alone.
    pub(super) fn break_out(&mut self) {
        let at = self.content.open.last_with(Traits::HTML.and(Traits::INTEGRATION_POINT));
        self.content.truncate(at.map_or(0, |at| at.saturating_add(1)));
    }

    /// An element begins. What it holds is otherwise said where the tag opens none, or too many are open.
    pub(super) fn open(&mut self, tag: StartTag<'_>, content: Content) -> Option<Content> {
        let is_html = tag.namespace == Namespace::Html;
        if self.content.open.is_empty() && is_html && content != Content::Noscript {
            return None;
        }
        if self.syntax == Syntax::Html && !self.content.open.is_empty() && self.reads_as_html(tag.name) {
            match self.content.start_tag(Key::of_html(tag.name)) {
                Outcome::Done => {}
                Outcome::Ignored => return Some(Content::Markup),
                Outcome::ReachesOut => self.content.clear(),
            }
        }
        if content == Content::Noscript {
            self.open_noscript(tag.name);
        }
        if !tag.is_self_closing && (!is_html || self.syntax == Syntax::Xml) {
            let traits = Traits::of_foreign(tag.name, tag.namespace, tag.is_html_annotation);
            self.content.open.push(Key::of_foreign(tag.name), traits);
        }
        self.content.open.is_too_deep.then_some(Content::Plaintext)
    }

    fn open_noscript(&mut self, name: &Name) {
        if self.around_noscript.is_none() {
            self.around_noscript = Some(std::mem::take(&mut self.content));
        } else if !self.content.open.is_empty() {
            self.content.push_ordinary(Key::of_html(name));
        }
    }

    /// `is_of_text`: it ends an element that held text, and was not left open.
    pub(super) fn end_tag(&mut self, name: &Name, is_of_text: bool) {
        if self.is_plain() {
            return;
        }
        if name.is(b"noscript")
            && let Some(around) = self.around_noscript.take()
        {
            self.content = around;
        } else if !is_of_text && !self.content.open.is_empty() {
            self.end_open(name);
        }
    }

    fn end_open(&mut self, name: &Name) {
        let is_xml = self.syntax == Syntax::Xml;
        let is_html = self.content.open.top().has_any_of(Traits::HTML);
        if !is_html && !is_xml && matches!(name.as_bytes(), b"p" | b"br") {
            self.break_out();
        } else if let Some(at) = self.content.open.find_foreign(Key::of_foreign(name), is_xml) {
            return self.content.truncate(at);
        }
        if is_xml || self.content.open.is_empty() {
            return;
        }
        if self.content.end_tag(Key::of_html(name)) == Outcome::ReachesOut && may_be_around(name) {
            self.content.clear();
        }
    }

    /// Whether text may change what is open.
    pub(super) fn wants_text(&self) -> bool {
        !self.content.open.is_empty()
            && self.syntax == Syntax::Html
            && self.content.is_changed_by_text()
            && self.holds_html()
    }

    pub(super) fn text(&mut self, piece: &[u8]) {
        if self.wants_text() {
            self.content.text(piece);
        }
    }

    fn holds_html(&self) -> bool {
        let top = self.content.open.top();
        top.has_any_of(Traits::HTML) || top.has_any_of(Traits::INTEGRATION_POINT)
    }

    fn reads_as_html(&self, name: &Name) -> bool {
        let top = self.content.open.top();
        if top.has_any_of(Traits::HTML) {
            return true;
        }
        if top.has_any_of(Traits::MATH_TEXT) {
            return !matches!(name.as_bytes(), b"mglyph" | b"malignmark");
        }
        top.has_any_of(Traits::INTEGRATION_POINT) || (top.has_any_of(Traits::ANNOTATION) && name.is(b"svg"))
    }
}
