//! Pages of what the standard treats in a way of its own.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const MARKS: &[&str] = &[
    "<",
    "<",
    "<",
    "</",
    "<!",
    "<?",
    "<!-",
    "<!--",
    "-",
    "--",
    "-->",
    "--!>",
    "--!",
    "<!-->",
    "<!--->",
    "]",
    "]]",
    "]]>",
    "<![CDATA[",
    "<![cdata[",
    "<!DOCTYPE",
    "<!doctype ",
    "<!DOC",
    ">",
    ">",
    ">",
    "/",
    "/>",
    "=",
    "\"",
    "'",
    "!",
    "?",
];
const SPACE: &[&str] = &[" ", "\t", "\n", "\r", "\r\n", "\x0c", "\x0b", "\0", "\u{a0}"];
const WORDS: &[&str] = &[
    "a",
    "B",
    "x-Y",
    "é",
    "K",
    "1",
    "public",
    "SYSTEM",
    "abcdefghijklmnopqrstuvwxyz",
    "href",
    "HREF",
    "html",
    "`",
    "<<",
];
const REFERENCES: &[&str] = &[
    "&",
    "&#",
    "&#x",
    "&#X3a",
    "&#58",
    "&#58;",
    ";",
    "&colon;",
    "&sol",
    "&amp",
    "&AMP;",
    "&quot;",
    "&lt",
    "&gt=",
    "&zz;",
    "&NewLine;",
    "&#xfffff;",
    "&#0;",
    "&#xd800;",
    "&#9999999999;",
];
const NAMES: &[&str] = &[
    "script",
    "SCRIPT",
    "style",
    "title",
    "textarea",
    "xmp",
    "iframe",
    "noembed",
    "noframes",
    "noscript",
    "svg",
    "math",
    "plaintext",
    "template",
    "p",
    "sCrIpT",
    "scrip",
    "scripts",
];

/// What matters inside of a script.
const SCRIPT: &[&str] = &[
    "<!--",
    "-->",
    "--!>",
    "->",
    "-",
    ">",
    "<",
    "<!-",
    "<script>",
    "<script ",
    "<scripts>",
    "</script>",
    "</script\n",
    "x",
];

pub(super) fn soup() -> impl Strategy<Value = String> {
    let tag = (select(&["<", "</"][..]), select(NAMES), select(&[">", " ", "/", "\n", "", "\0", "x"][..]));
    let script = vec(select(SCRIPT), 1..8).prop_map(|pieces| format!("<script>{}", pieces.concat()));
    let piece = prop_oneof![
        2 => script,
        10 => select(MARKS).prop_map(str::to_owned),
        4 => select(SPACE).prop_map(str::to_owned),
        6 => select(WORDS).prop_map(str::to_owned),
        2 => select(REFERENCES).prop_map(str::to_owned),
        8 => tag.prop_map(|(open, name, end)| [open, name, end].concat()),
        1 => "[^\u{fffd}]{0,2}",
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

const WELL_FORMED: &str = concat!(
    "<!DOCTYPE html PUBLIC \"-//W3C//DTD\" 'x'><html><head><title>a &#38; b</title><style>p { c: '</p>' }</style>",
    "<script>if (a<b) { <!-- <script> x --> </script> -->\n<!--\n</script><meta charset=utf-8></head><body class='x y'>",
    "<!-- a -- b ---!> --><img src=\"http://h/?a=b&#38;c\" alt='>' hidden/><textarea>\n</title></textarea >",
    "<svg viewBox=0><![CDATA[ <b> ]] ]]><path d=''/></svg><noscript><img src=x></noscript><xmp><!--</xmp>--></p></body>",
);

/// A page with what editors, templates and broken connections do to it.
pub(super) fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<Index>(), any::<Index>(), 0..4_u8, select(MARKS));
    vec(edit, 0..6).prop_map(|edits| {
        edits.iter().fold(WELL_FORMED.to_owned(), |page, (from, len, how, mark)| {
            let from = from.index(page.len().max(1)).min(page.len());
            let to = (from + len.index(40)).min(page.len());
            match how {
                0 => [&page[..from], &page[to..]].concat(),
                1 => [&page[..from], mark, &page[from..]].concat(),
                2 => [&page[..to], &page[from..to], &page[to..]].concat(),
                _ => page[..from].to_owned(),
            }
        })
    })
}
