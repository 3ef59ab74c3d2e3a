//! XHTML pages, and what quick-xml reads on them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

use super::pages;
use super::twin::{self, Space, Urls};

/// The events of a page, with the text of a style sheet as its tokens.
pub(crate) fn events(page: &str, urls: Urls) -> Vec<String> {
    let mut reader = NsReader::from_str(page);
    let (mut lines, mut sheets) = (Vec::new(), Vec::<Option<String>>::new());
    loop {
        let (namespace, event) = reader.read_resolved_event().expect("the page is well formed");
        let space = match namespace {
            ResolveResult::Bound(name) if name.as_ref() == "http://www.w3.org/1999/xhtml" => Space::Html,
            ResolveResult::Bound(name) if name.as_ref() == "http://www.w3.org/2000/svg" => Space::Svg,
            _ => Space::Other,
        };
        let text = match event {
            Event::Eof => return lines,
            Event::Start(tag) => {
                lines.push(start(&tag, space, urls));
                let is_sheet = tag.name().as_ref() == "style" && space != Space::Other;
                sheets.push(is_sheet.then(String::new));
                continue;
            }
            Event::Empty(tag) => {
                lines.push(start(&tag, space, urls));
                continue;
            }
            Event::End(_) => {
                lines.extend(sheets.pop().flatten().map(|sheet| twin::css(&sheet, urls)));
                lines.push("end".to_owned());
                continue;
            }
            Event::Text(text) => text.xml10_content().into_owned(),
            Event::CData(text) => text.xml10_content().into_owned(),
            Event::GeneralRef(reference) => match (reference.resolve_char_ref(), &*reference) {
                (Ok(Some(char)), _) => char.to_string(),
                (_, "amp") => "&".to_owned(),
                (_, "quot") => "\"".to_owned(),
                (_, name) => panic!("&{name};"),
            },
            other => {
                lines.push(format!("{other:?}"));
                continue;
            }
        };
        match sheets.last_mut() {
            Some(Some(sheet)) => sheet.push_str(&text),
            _ => lines.push(text),
        }
    }
}

fn start(tag: &BytesStart<'_>, space: Space, urls: Urls) -> String {
    let attributes: Vec<(String, String)> = tag
        .attributes()
        .map(|attribute| {
            let attribute = attribute.unwrap();
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).unwrap().into_owned();
            (attribute.key.as_ref().to_owned(), value)
        })
        .collect();
    let name = tag.name().as_ref().to_owned();
    let mut line = format!("<{name}");
    for (attribute, value) in &attributes {
        let value = match (urls, &**attribute) {
            (Urls::AsWritten, "style") => twin::css(value, urls),
            (Urls::AsWritten, _) => value.clone(),
            (Urls::Upgraded, _) => twin::attribute(space, &name, attribute, value, &attributes),
        };
        line.push_str(&format!(" {attribute}={value:?}"));
    }
    line
}

/// Attributes of distinct names, with references that XML has.
fn attributes() -> BoxedStrategy<String> {
    let value =
        prop_oneof![4 => pages::padded_url(), 2 => pages::srcset(), 2 => pages::css(true), 1 => pages::rel()];
    let names = [
        "src",
        "srcset",
        "href",
        "rel",
        "style",
        "data",
        "imagesrcset",
        "poster",
        "background",
        "alt",
        "data-src",
    ];
    (proptest::sample::subsequence(names.to_vec(), 0..4), vec(value, 4), select(&["\"", "'"][..]))
        .prop_map(|(names, values, quote)| {
            let each = names.iter().zip(values).map(|(name, value)| {
                let other = if quote == "'" { "&#39;" } else { "&quot;" };
                format!("\n{name} = {quote}{}{quote}", xml(&value).replace(quote, other))
            });
            each.collect::<String>()
        })
        .boxed()
}

/// Without what XML does not have: controls, line ends in values, references to names.
fn xml(text: &str) -> String {
    let text = text.replace(|char: char| char < ' ', " ").replace('<', "&lt;");
    let mut out = String::new();
    for (index, part) in text.split('&').enumerate() {
        if index > 0 {
            let name = part.split(';').next().unwrap();
            let is_number =
                |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_known = part.contains(';')
                && (matches!(name, "amp" | "quot" | "lt")
                    || name
                        .strip_prefix("#x")
                        .map_or_else(|| name.strip_prefix('#').is_some_and(is_number), is_number));
            out.push_str(if is_known { "&" } else { "&amp;" });
        }
        out.push_str(part);
    }
    out
}

fn element(names: &'static [&'static str], inner: BoxedStrategy<String>) -> BoxedStrategy<String> {
    (select(names), attributes(), inner, any::<bool>())
        .prop_map(|(name, attributes, inner, is_empty)| {
            if is_empty {
                format!("<{name}{attributes} />")
            } else {
                format!("<{name}{attributes}>{inner}</{name}\n>")
            }
        })
        .boxed()
}

const HTML: &[&str] = &[
    "img",
    "source",
    "link",
    "script",
    "iframe",
    "embed",
    "input",
    "video",
    "audio",
    "track",
    "object",
    "table",
    "td",
    "a",
    "p",
    "div",
    "title",
    "textarea",
    "noscript",
    "xmp",
    "template",
    "plaintext",
];

pub(crate) fn page() -> BoxedStrategy<String> {
    let sheet = || pages::css(false).prop_map(|css| css.replace(['<', '&'], "").replace("]]>", ""));
    let leaf = prop_oneof![
        6 => element(HTML, Just(String::new()).boxed()),
        1 => sheet().prop_map(|css| format!("<style>{}</style>", css.replace('>', "&#62;"))),
        1 => sheet().prop_map(|css| format!("<style media='x'><![CDATA[{css}]]></style>")),
        1 => sheet().prop_map(|css| format!("<svg xmlns='http://www.w3.org/2000/svg'><style>{}</style></svg>", css.replace('"', "&quot;"))),
        1 => select(&[
            "text", "&amp;", "<!-- <img src='http://h.example/'> -->", "<!---->", "<![CDATA[ <img src='http://h.example/'> ]]>",
            "<![CDATA[]]]]>", "<?x <img src='http://h.example/'> ?>", "<?y ??>", "<script><!-- <script> --></script>", ">",
        ][..]).prop_map(str::to_owned),
    ];
    let tree = leaf.prop_recursive(3, 16, 4, |inner| {
        let inside = vec(inner, 0..3).prop_map(|all| all.concat()).boxed();
        let svg =
            element(&["image", "use", "feImage", "script", "g", "a", "path"], Just(String::new()).boxed());
        let html = inside.clone().prop_map(|inside| {
            format!(
                "<foreignObject><div xmlns=\"http://www.w3.org/1999/xhtml\">{inside}</div></foreignObject>"
            )
        });
        let inside_svg = vec(prop_oneof![3 => svg, 1 => html], 0..4)
            .prop_map(|all| format!("<svg xmlns=\"http://www.w3.org/2000/svg\">{}</svg>", all.concat()));
        prop_oneof![3 => element(HTML, inside), 1 => inside_svg]
    });
    let head = select(
        &[
            "",
            "<?xml version='1.0'?>",
            "<!DOCTYPE html>",
            "<!DOCTYPE html PUBLIC \"a>b\" 'c'>",
            "<?xml version=\"1.0\"?>\n<!DOCTYPE html [ <!ENTITY a \"b>\"> ]>\n",
        ][..],
    );
    (head, vec(tree, 0..4))
        .prop_map(|(head, body)| {
            format!(
                "{head}<html xmlns=\"http://www.w3.org/1999/xhtml\"><body>{}</body></html>",
                body.concat()
            )
        })
        .boxed()
}
