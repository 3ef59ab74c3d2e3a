//! Where the engine knowingly differs from html5ever.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use html5ever::TokenizerResult;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Tokenizer, TokenizerOpts};

use super::stack::{Element, Step, Watch};

/// An at-keyword with an escape is taken for one that names things (`@n\61mespace`), also where a style sheet of SVG has
/// a comment within it.
pub(crate) fn has_escaped_keyword(page: &str) -> bool {
    let is_escaped = |rest: &str| {
        let is_name = |char: char| char.is_alphanumeric() || matches!(char, '-' | '_' | '\\');
        rest.split(|char| !is_name(char)).next().is_some_and(|name| name.contains('\\'))
    };
    let page = ["<!-- http: -->", "<?x?>", "<![CDATA[]]>"]
        .iter()
        .fold(page.to_owned(), |page, seam| page.replace(seam, ""));
    page.split('@').skip(1).any(is_escaped)
}

/// Named references are decoded only where they stand for ASCII: a host that holds another (`http://a&Colon;b/`) is none.
fn has_named_host(page: &str) -> bool {
    let ends_url = |char: char| char.is_ascii_whitespace() || matches!(char, '"' | '\'' | '=' | '>' | ',');
    page.match_indices("&Colon;")
        .any(|(at, _)| page[..at].rsplit(ends_url).next().is_some_and(|before| before.contains(['/', '\\'])))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limit {
    EscapedKeyword,
    NamedHost,
    /// The elements around the outermost `svg` or `math` are not known. A tag ends it that may reach out of it, and
    /// there is nothing to reach; or one does that is not expected to.
    Around,
    /// So are the form that is open around it, and the table that it stands in, but in no cell.
    FormAround,
    /// A `table` in a `p`: the engine knows of no quirks mode.
    Quirks,
    /// Of formatting elements that only differ in their attributes three are kept in the list.
    FourOfAName,
    /// To html5ever integration points are no special elements, and `annotation-xml` is no scope: tags reach through
    /// it that in the standard do not.
    ReachesThrough,
}

/// The first limit of the engine, or fault of html5ever, that a page meets.
pub(crate) fn of(page: &str) -> Option<Limit> {
    if has_escaped_keyword(page) {
        return Some(Limit::EscapedKeyword);
    }
    if has_named_host(page) {
        return Some(Limit::NamedHost);
    }
    in_foreign_content(page)
}

fn in_foreign_content(page: &str) -> Option<Limit> {
    let lower = page.to_ascii_lowercase();
    if !["<svg", "<math"].iter().any(|tag| lower.contains(tag)) {
        return None;
    }
    [true, false].into_iter().find_map(|scripting_enabled| {
        let (limits, limit) = (Limits::default(), Cell::new(None));
        let watch =
            Watch::new(scripting_enabled, |step| limit.set(limit.get().or_else(|| limits.met_in(step))));
        let tokenizer = Tokenizer::new(watch, TokenizerOpts::default());
        let input = BufferQueue::default();
        input.push_back(StrTendril::from_slice(page));
        while let TokenizerResult::Script(_) = tokenizer.feed(&input) {}
        tokenizer.end();
        drop(tokenizer);
        limit.get()
    })
}

#[derive(Default)]
struct Limits {
    /// A form was opened in the foreign content.
    has_form: Cell<bool>,
    /// The start tags of formatting elements in it.
    formatting: RefCell<BTreeMap<String, Vec<Tag>>>,
}

const OF_TABLE: &[&str] = &["caption", "col", "colgroup", "tbody", "td", "tfoot", "th", "thead", "tr"];

const BREAKS_OUT: &str = " b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li \
    listing menu meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var ";

/// End tags that are taken for those of an element around foreign content.
const AROUND: &str = " a abbr address applet article aside b big blockquote button caption center cite code col \
    colgroup dd del details dialog dir div dl dt em fieldset figcaption figure font footer h1 h2 h3 h4 h5 h6 header hgroup \
    i ins kbd label li listing main mark marquee menu nav nobr noscript object ol output picture pre q ruby s samp search \
    section select small span strike strong sub summary sup table tbody td template tfoot th thead time tr tt u ul var ";

const FORMATTING: &str = " a b big code em font i nobr s small strike strong tt u ";

fn is_one_of(names: &str, name: &str) -> bool {
    names.contains(&format!(" {name} "))
}

impl Limits {
    fn met_in(&self, step: &Step<'_>) -> Option<Limit> {
        let Step { tag, before, after, .. } = *step;
        let stays = |element: &Rc<Element>| after.iter().any(|other| Rc::ptr_eq(other, element));
        let name = tag.name.to_string();
        let is_start = tag.kind == TagKind::StartTag;
        let Some(outermost) = before.iter().position(|element| element.is_foreign()) else {
            self.has_form.set(false);
            self.formatting.borrow_mut().clear();
            let is_lost = is_start
                && matches!(&*name, "svg" | "math")
                && !tag.self_closing
                && !after.iter().any(|element| element.is_foreign());
            return is_lost.then_some(Limit::Around);
        };
        let inside = &before[outermost..];
        let is_html = inside.last().is_some_and(|current| current.reads_as_html(tag));
        let is_out = !stays(&inside[0]);

        let is_of_table = OF_TABLE.contains(&&*name) || matches!(&*name, "table" | "template");
        let through = before.iter().rposition(ends_scope);
        if !is_of_table && let Some(through) = through {
            let is_through = before[..through].iter().any(|element| !element.is_foreign() && !stays(element));
            let is_annotation_lost = before.iter().any(|element| {
                element.is_html_annotation && !stays(element) && !is_ended_by(before, element, tag)
            });
            // An `a` that cannot be reached is taken off the stack.
            let is_let_go = is_start
                && name == "a"
                && stays(&before[through])
                && !before.iter().any(|element| element.is_annotation());
            if (is_through && !is_let_go) || is_annotation_lost {
                return Some(Limit::ReachesThrough);
            }
        }
        if is_out != is_expected_out(tag, &name, is_html, inside) {
            return Some(Limit::Around);
        }
        if !is_html || is_out {
            return None;
        }
        let is_template = |element: &Rc<Element>| element.is_html("template");
        if name == "form" && !inside.iter().any(is_template) {
            let is_table = is_in_table_without_cell(&before[..outermost]);
            let is_open = after.last().is_some_and(|element| element.is_html("form"));
            let is_unknown = is_table || (!is_open && !self.has_form.get());
            if before.iter().any(is_template) || (is_start && is_unknown) {
                return Some(Limit::FormAround);
            }
            self.has_form.set(is_start);
        }
        let is_in_paragraph = || inside.iter().any(|element| element.is_html("p"));
        if is_start && name == "table" && step.is_quirky && is_in_paragraph() {
            return Some(Limit::Quirks);
        }
        if is_start && is_one_of(FORMATTING, &name) {
            let mut formatting = self.formatting.borrow_mut();
            let tags = formatting.entry(name).or_default();
            tags.push(tag.clone());
            if tags.len() > 3 && tags.iter().any(|other| !other.equiv_modulo_attr_order(&tags[0])) {
                return Some(Limit::FourOfAName);
            }
        }
        None
    }
}

fn is_expected_out(tag: &Tag, name: &str, is_html: bool, inside: &[Rc<Element>]) -> bool {
    let is_start = tag.kind == TagKind::StartTag;
    let is_any = |names: &[&str]| inside.iter().any(|element| names.iter().any(|name| element.is_html(name)));
    let holds_html = |element: &Rc<Element>| !element.is_foreign() || element.is_integration_point();
    if !is_html {
        let run = inside.iter().rposition(|element| !element.is_foreign()).map_or(0, |html| html + 1);
        let breaks_out = if is_start {
            is_one_of(BREAKS_OUT, name) || (name == "font" && is_styled(tag))
        } else {
            matches!(name, "p" | "br")
        };
        if breaks_out {
            return !inside.iter().any(holds_html);
        }
        if is_start {
            return false;
        }
        if let Some(ended) = inside[run..].iter().rposition(|element| element.local == name) {
            return run + ended == 0;
        }
    }
    if name == "template" {
        return !is_start && !is_any(&["template"]);
    }
    let is_of_table = OF_TABLE.contains(&name) && (is_start || !matches!(name, "col" | "colgroup"));
    if is_of_table || (name == "table" && !is_start) {
        return !is_any(&["table", "template"]);
    }
    !is_start
        && !inside.iter().any(|element| ends_scope(element) || !element.is_foreign())
        && (is_one_of(AROUND, name) || (name.contains('-') && name != "annotation-xml"))
        && !matches!(name, "col" | "colgroup")
}

fn is_in_table_without_cell(around: &[Rc<Element>]) -> bool {
    let mode = around.iter().rev().find(|element| {
        ["table", "tbody", "thead", "tfoot", "tr", "td", "th", "caption", "template"]
            .iter()
            .any(|name| element.is_html(name))
    });
    mode.is_some_and(|element| !matches!(&*element.local, "td" | "th" | "caption"))
}

/// In the standard, and of foreign elements.
fn ends_scope(element: &Rc<Element>) -> bool {
    element.is_integration_point() || element.is_annotation()
}

fn is_styled(tag: &Tag) -> bool {
    tag.attrs.iter().any(|attribute| matches!(&*attribute.name.local, "color" | "face" | "size"))
}

/// Whether an end tag names this element or one around it, with nothing but foreign elements further in.
fn is_ended_by(before: &[Rc<Element>], element: &Rc<Element>, tag: &Tag) -> bool {
    let at = before.iter().position(|other| Rc::ptr_eq(other, element)).unwrap();
    let html = before.iter().rposition(|element| !element.is_foreign()).map_or(0, |html| html + 1);
    let named = before[html..].iter().rposition(|element| *element.local == *tag.name);
    tag.kind == TagKind::EndTag && named.is_some_and(|named| html + named <= at)
}
