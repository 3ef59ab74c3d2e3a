//! The tree that a browser makes of a page, by html5ever.

use html5ever::tendril::TendrilSink;
use html5ever::tree_builder::TreeBuilderOpts;
use html5ever::{ParseOpts, ns, parse_document};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

use super::twin::{self, Space, Urls};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scripting {
    On,
    Off,
}

/// The nodes of the tree from its start to its end, one per line.
pub(crate) fn dom(page: &str, scripting: Scripting, urls: Urls) -> Vec<String> {
    let tree_builder =
        TreeBuilderOpts { scripting_enabled: scripting == Scripting::On, ..TreeBuilderOpts::default() };
    let dom = parse_document(RcDom::default(), ParseOpts { tree_builder, ..ParseOpts::default() }).one(page);
    let mut walk = Walk { scripting, urls, lines: Vec::new() };
    walk.node(&dom.document, 0);
    walk.lines
}

struct Walk {
    scripting: Scripting,
    urls: Urls,
    lines: Vec<String>,
}

impl Walk {
    fn line(&mut self, depth: usize, text: &str) {
        self.lines.push(format!("{}{text}", " ".repeat(depth)));
    }

    fn node(&mut self, node: &Handle, depth: usize) {
        match &node.data {
            NodeData::Text { contents } => self.line(depth, &format!("{:?}", &**contents.borrow())),
            NodeData::Comment { contents } => self.line(depth, &format!("<!--{:?}", &**contents)),
            NodeData::Doctype { name, public_id, system_id } => {
                self.line(depth, &format!("<!{name} {public_id} {system_id}"));
            }
            NodeData::Document | NodeData::ProcessingInstruction { .. } => {}
            NodeData::Element { name, attrs, template_contents, .. } => {
                let space = match &name.ns {
                    space if *space == ns!(html) => Space::Html,
                    space if *space == ns!(svg) => Space::Svg,
                    _ => Space::Other,
                };
                let attributes: Vec<(String, String)> = attrs.borrow().iter().map(named).collect();
                let mut line = format!("<{} {}", &*name.ns, name.local);
                for (attribute, value) in &attributes {
                    let value = match self.urls {
                        Urls::AsWritten if attribute == "style" => twin::css(value, Urls::AsWritten),
                        Urls::AsWritten => value.clone(),
                        Urls::Upgraded => twin::attribute(space, &name.local, attribute, value, &attributes),
                    };
                    line.push_str(&format!(" {attribute}={value:?}"));
                }
                self.line(depth, &line);
                if &*name.local == "style" && space != Space::Other {
                    let sheet = twin::css(&text_of(node), self.urls);
                    return self.line(depth + 1, &sheet);
                }
                if &*name.local == "noscript" && space == Space::Html && self.scripting == Scripting::On {
                    // Text here, and markup for the browsers that are meant.
                    return self.noscript(&text_of(node), depth + 1);
                }
                if let Some(contents) = &*template_contents.borrow() {
                    self.node(contents, depth + 1);
                }
            }
        }
        for child in node.children.borrow().iter() {
            self.node(child, depth + 1);
        }
    }

    fn noscript(&mut self, text: &str, depth: usize) {
        for line in dom(text, Scripting::Off, self.urls) {
            self.line(depth, &line);
        }
    }
}

fn named(attribute: &html5ever::Attribute) -> (String, String) {
    let name = &attribute.name;
    let full = match &name.prefix {
        Some(prefix) if !prefix.is_empty() => format!("{prefix}:{}", name.local),
        _ => name.local.to_string(),
    };
    (full, attribute.value.to_string())
}

fn text_of(node: &Handle) -> String {
    let children = node.children.borrow();
    let texts = children.iter().filter_map(|child| match &child.data {
        NodeData::Text { contents } => Some(contents.borrow().to_string()),
        _ => None,
    });
    texts.collect()
}
