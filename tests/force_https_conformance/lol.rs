//! What lol_html finds on a page, under the twin's policy.

use std::cell::RefCell;
use std::rc::Rc;

use lol_html::{RewriteStrSettings, element, rewrite_str, text};

use super::twin::{self, Space};

/// A URL that is upgraded: where its scheme stands, or in CSS which host it names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) element: String,
    pub(crate) attribute: String,
    pub(crate) key: String,
}

pub(crate) fn found(page: &str) -> Vec<Found> {
    let found = Rc::new(RefCell::new(Vec::new()));
    let sheet = Rc::new(RefCell::new(String::new()));
    let of_elements = Rc::clone(&found);
    let of_sheets = Rc::clone(&found);
    let settings = RewriteStrSettings::new()
        .append_element_content_handler(element!("*", move |element| {
            let space = match element.namespace_uri() {
                "http://www.w3.org/1999/xhtml" => Space::Html,
                "http://www.w3.org/2000/svg" => Space::Svg,
                _ => Space::Other,
            };
            // Names are those of the tree: `image` is an `img`, and SVG has its own case.
            let tag = element.tag_name();
            let name = match (space, &*tag) {
                (Space::Html, "image") => "img",
                (Space::Svg, "feimage") => "feImage",
                (_, tag) => tag,
            };
            let attributes: Vec<(String, String)> =
                element.attributes().iter().map(|attribute| (attribute.name(), attribute.value())).collect();
            for (index, attribute) in element.attributes().iter().enumerate() {
                let (attribute_name, value) = &attributes[index];
                if attributes[..index].iter().any(|(other, _)| other == attribute_name) {
                    continue;
                }
                let mut push = |key| {
                    of_elements.borrow_mut().push(Found {
                        element: tag.clone(),
                        attribute: attribute_name.clone(),
                        key,
                    });
                };
                if attribute_name == "style" {
                    twin::css_hosts(value).into_iter().for_each(&mut push);
                    continue;
                }
                let upgraded = twin::attribute(space, name, attribute_name, value, &attributes);
                if let Some(location) = attribute.value_source_location() {
                    let start = location.bytes().start;
                    schemes(value, &upgraded).into_iter().for_each(|at| push((start + at).to_string()));
                }
            }
            Ok(())
        }))
        .append_element_content_handler(text!("style", move |text| {
            sheet.borrow_mut().push_str(text.as_str());
            if text.last_in_text_node() {
                for key in twin::css_hosts(&sheet.take()) {
                    let (element, attribute) = ("style".to_owned(), String::new());
                    of_sheets.borrow_mut().push(Found { element, attribute, key });
                }
            }
            Ok(())
        }));
    rewrite_str(page, settings).expect("lol_html reads the page");
    let mut found = found.take();
    found.sort();
    found
}

/// Where a scheme of `before` is another in `after`.
fn schemes(before: &str, after: &str) -> Vec<usize> {
    let (before, after) = (before.as_bytes(), after.as_bytes());
    let (mut at, mut to, mut found) = (0, 0, Vec::new());
    while at < before.len() {
        let is_scheme = before[at..].len() > 4 && before[at..at + 4].eq_ignore_ascii_case(b"http");
        if is_scheme && before[at + 4] != b's' && after[to..].starts_with(b"https") {
            found.push(at);
            (at, to) = (at + 4, to + 5);
        } else if after.get(to) == Some(&before[at]) {
            (at, to) = (at + 1, to + 1);
        } else {
            // Of a port that went.
            at += 1;
        }
    }
    found
}
