//! The page as html5ever reads it.

use html5ever::tendril::TendrilSink;
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// What a browser makes of the page.
#[derive(Default)]
pub(crate) struct Dom {
    /// The texts of each row, but for the forms.
    pub(crate) cells: Vec<Vec<String>>,
    /// Names and values of each.
    pub(crate) forms: Vec<Vec<(String, String)>>,
    pub(crate) elements: Vec<String>,
    pub(crate) attributes: Vec<String>,
    pub(crate) user: String,
}

impl Dom {
    pub(crate) fn of(page: &str) -> Self {
        let parsed = html5ever::parse_document(RcDom::default(), Default::default()).one(page);
        assert!(parsed.errors.borrow().is_empty(), "{:?}", parsed.errors);
        let mut dom = Self::default();
        dom.walk(&parsed.document);
        dom
    }

    fn walk(&mut self, node: &Handle) {
        if let NodeData::Element { name, attrs, .. } = &node.data {
            let attrs = attrs.borrow();
            let value = |wanted: &str| {
                attrs.iter().find(|attr| &*attr.name.local == wanted).map(|attr| attr.value.to_string())
            };
            self.attributes.extend(attrs.iter().map(|attr| attr.name.local.to_string()));
            self.elements.push(name.local.to_string());
            match &*name.local {
                "tr" if value("scope").is_none() => self.cells.push(Vec::new()),
                "form" => {
                    assert_eq!(value("method").as_deref(), Some("post"));
                    self.forms.push(Vec::new());
                }
                "input" => {
                    let pair = (value("name").unwrap(), value("value").unwrap_or_default());
                    self.forms.last_mut().unwrap().push(pair);
                }
                "p" => self.user = text_of(node),
                "td" | "th" if value("scope").as_deref() != Some("col") => {
                    let has_forms = node.children.borrow().iter().any(|child| {
                        matches!(&child.data, NodeData::Element { name, .. } if &*name.local == "form")
                    });
                    if !has_forms {
                        self.cells.last_mut().unwrap().push(text_of(node));
                    }
                }
                _ => {}
            }
        }
        for child in node.children.borrow().iter() {
            self.walk(child);
        }
        if matches!(&node.data, NodeData::Element { name, .. } if &*name.local == "thead") {
            self.cells.clear();
        }
    }
}

pub(crate) fn text_of(node: &Handle) -> String {
    match &node.data {
        NodeData::Text { contents } => contents.borrow().to_string(),
        _ => node.children.borrow().iter().map(text_of).collect(),
    }
}
