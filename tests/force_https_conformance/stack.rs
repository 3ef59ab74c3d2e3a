//! The stack of open elements that html5ever keeps, with no tree behind it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use html5ever::interface::{ElementFlags, NodeOrText, Tracer, TreeSink};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{Tag, TagKind, Token, TokenSink, TokenSinkResult};
use html5ever::tree_builder::{QuirksMode, TreeBuilder, TreeBuilderOpts};
use html5ever::{Attribute, ExpandedName, QualName, local_name, ns};

/// Lets its visitor look at the open elements before and after each tag.
pub(crate) struct Watch<V> {
    builder: TreeBuilder<Rc<Element>, Elements>,
    visit: V,
}

pub(crate) struct Step<'a> {
    pub(crate) tag: &'a Tag,
    pub(crate) before: &'a [Rc<Element>],
    pub(crate) after: &'a [Rc<Element>],
    pub(crate) is_quirky: bool,
}

impl<V: Fn(&Step<'_>)> Watch<V> {
    pub(crate) fn new(scripting_enabled: bool, visit: V) -> Self {
        let opts = TreeBuilderOpts { scripting_enabled, ..TreeBuilderOpts::default() };
        Self { builder: TreeBuilder::new(Elements::default(), opts), visit }
    }

    fn stack(&self) -> Vec<Rc<Element>> {
        let traced = Traced::default();
        self.builder.trace_handles(&traced);
        let mut stack = traced.0.into_inner();
        // Behind the stack come the active formatting elements; what the parser asks of is the current node.
        self.builder.sink.asked.take();
        self.builder.adjusted_current_node_present_but_not_in_html_namespace();
        let current = self.builder.sink.asked.take();
        let is_current =
            |element: &Rc<Element>| current.as_ref().is_some_and(|other| Rc::ptr_eq(element, other));
        stack.truncate(stack.iter().position(is_current).map_or(0, |last| last + 1));
        // The first one is the document.
        stack.split_off(stack.len().min(1))
    }
}

impl<V: Fn(&Step<'_>)> TokenSink for Watch<V> {
    type Handle = Rc<Element>;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<Rc<Element>> {
        let Token::TagToken(tag) = &token else { return self.builder.process_token(token, line) };
        let (tag, before) = (tag.clone(), self.stack());
        let result = self.builder.process_token(token, line);
        let is_quirky = self.builder.sink.is_quirky.get();
        (self.visit)(&Step { tag: &tag, before: &before, after: &self.stack(), is_quirky });
        result
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}

#[derive(Default)]
struct Traced(RefCell<Vec<Rc<Element>>>);

impl Tracer for Traced {
    type Handle = Rc<Element>;

    fn trace_handle(&self, element: &Rc<Element>) {
        self.0.borrow_mut().push(Rc::clone(element));
    }
}

#[derive(Debug)]
pub(crate) struct Element {
    name: QualName,
    /// In lower case.
    pub(crate) local: String,
    pub(crate) is_html_annotation: bool,
}

impl Element {
    fn new(name: QualName, is_html_annotation: bool) -> Rc<Self> {
        Rc::new(Self { local: name.local.to_lowercase(), name, is_html_annotation })
    }

    pub(crate) fn is_foreign(&self) -> bool {
        self.name.ns != ns!(html)
    }

    pub(crate) fn is_html(&self, name: &str) -> bool {
        !self.is_foreign() && self.local == name
    }

    pub(crate) fn is_annotation(&self) -> bool {
        self.name.ns == ns!(mathml) && self.local == "annotation-xml"
    }

    fn is_math_text(&self) -> bool {
        self.name.ns == ns!(mathml) && matches!(&*self.local, "mi" | "mo" | "mn" | "ms" | "mtext")
    }

    pub(crate) fn is_integration_point(&self) -> bool {
        self.is_math_text()
            || self.is_html_annotation
            || (self.name.ns == ns!(svg) && matches!(&*self.local, "foreignobject" | "desc" | "title"))
    }

    pub(crate) fn reads_as_html(&self, tag: &Tag) -> bool {
        !self.is_foreign()
            || tag.kind == TagKind::StartTag
                && match &*tag.name {
                    "mglyph" | "malignmark" if self.is_math_text() => false,
                    "svg" if self.is_annotation() => true,
                    _ => self.is_integration_point(),
                }
    }
}

#[derive(Default)]
struct Elements {
    asked: RefCell<Option<Rc<Element>>>,
    is_quirky: Cell<bool>,
}

fn nameless() -> Rc<Element> {
    Element::new(QualName::new(None, ns!(), local_name!("")), false)
}

impl TreeSink for Elements {
    type Handle = Rc<Element>;
    type Output = ();
    type ElemName<'a> = ExpandedName<'a>;

    fn finish(self) {}

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Rc<Element> {
        nameless()
    }

    fn elem_name<'a>(&'a self, target: &'a Rc<Element>) -> ExpandedName<'a> {
        *self.asked.borrow_mut() = Some(Rc::clone(target));
        target.name.expanded()
    }

    fn create_element(&self, name: QualName, _: Vec<Attribute>, flags: ElementFlags) -> Rc<Element> {
        Element::new(name, flags.mathml_annotation_xml_integration_point)
    }

    fn create_comment(&self, _: StrTendril) -> Rc<Element> {
        nameless()
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Rc<Element> {
        nameless()
    }

    fn append(&self, _: &Rc<Element>, _: NodeOrText<Rc<Element>>) {}

    fn append_based_on_parent_node(&self, _: &Rc<Element>, _: &Rc<Element>, _: NodeOrText<Rc<Element>>) {}

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, _: &Rc<Element>) -> Rc<Element> {
        nameless()
    }

    fn same_node(&self, one: &Rc<Element>, other: &Rc<Element>) -> bool {
        Rc::ptr_eq(one, other)
    }

    fn set_quirks_mode(&self, mode: QuirksMode) {
        self.is_quirky.set(mode == QuirksMode::Quirks);
    }

    fn append_before_sibling(&self, _: &Rc<Element>, _: NodeOrText<Rc<Element>>) {}

    fn add_attrs_if_missing(&self, _: &Rc<Element>, _: Vec<Attribute>) {}

    fn remove_from_parent(&self, _: &Rc<Element>) {}

    fn reparent_children(&self, _: &Rc<Element>, _: &Rc<Element>) {}

    fn is_mathml_annotation_xml_integration_point(&self, element: &Rc<Element>) -> bool {
        element.is_html_annotation
    }
}
