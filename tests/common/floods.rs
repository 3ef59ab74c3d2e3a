//! What an attacker fills a page with: how it starts, and what comes then again and again.

pub(crate) const FLOODS: &[(&str, &str)] = &[
    ("", "<"),
    ("", "<a"),
    ("", "</"),
    ("", "<!--"),
    ("", "<style>"),
    ("", "<noscript>"),
    ("", "http:/<a "),
    ("", "<svg>"),
    ("", "<svg><g>"),
    ("", "<svg><path/></p>"),
    ("", "<svg></svg a='http:/"),
    ("", "<title></title a='"),
    ("", "<style>http:/</style a=b"),
    ("", "<p title=http:/ style='http:/' b =c>"),
    ("", "<img alt=a>http:/"),
    ("<svg><style><![CDATA[", "]]"),
    ("<svg><style>", "<!-- -->"),
    ("<style>", "<"),
    ("<style>", "<a"),
    ("<style>", "</s"),
    ("<style>", "</style"),
    ("<style>", "</style "),
    ("<style>", "</a"),
    ("<style>", "url("),
    ("<style>", "url('"),
    ("<style>", "a("),
    ("<style>", "aaaa"),
    ("<style>", "@"),
    ("<style>", "\\"),
    ("<title>", "</t"),
    ("<script>", "<!--<script "),
    ("<noscript>", "</noscrip"),
    ("<noscript><img ", "a= "),
    ("<noscript><!--", "--"),
    ("<noscript>", "<"),
    ("<svg><![CDATA[", "]"),
    ("<img", " "),
    ("<img ", "/"),
    ("<img ", "a"),
    ("<img ", "a "),
    ("<img ", "a  ="),
    ("<img ", "a='"),
    ("<img src=", "&"),
    ("<img src='http:", "/"),
    ("<img src='http://", "&#"),
    ("<img srcset='", "http://h/ 1x,"),
    ("<link ", "href=http://h/ imagesrcset=http://h/ "),
    ("<link imagesrcset='", "http://h/ 1x,"),
];

/// Behind elements that are opened again and again: as deep as is followed, where each tag may look through all of them.
#[rustfmt::skip]
pub(crate) const DEEP_FLOODS: &[(&str, &str, &str)] = &[
    ("<svg>", "<g>", "</x>"),
    ("<svg>", "<g>", "</b>"),
    // Of these two names the hashes start alike.
    ("<svg>", "<g>", "</d>"),
    ("<svg>", "<g>", "</li>"),
    ("<svg>", "<g>", "</form>"),
    ("<svg>", "<g>", "<g/>"),
    ("<svg><foreignObject>", "<i>", "</x>"),
    ("<svg><foreignObject>", "<i>", "</b>"),
    ("<svg><foreignObject>", "<i>", "</li>"),
    ("<svg><foreignObject>", "<i>", "</h1>"),
    ("<svg><foreignObject>", "<i>", "<p>"),
    ("<svg><foreignObject>", "<i>", "<li>"),
    ("<svg><foreignObject>", "<i>", "<dd>"),
    ("<svg><foreignObject>", "<i>", "<x></x>"),
    ("<svg><foreignObject>", "<div>", "</b>"),
    ("<svg><foreignObject>", "<div>", "<b></b>"),
    ("<svg><foreignObject>", "<div>", "<b><p></b>"),
    ("<svg><foreignObject>", "<div>", "<a>"),
    ("<svg><foreignObject>", "<div>", "</p>"),
    ("<svg><foreignObject>", "<div>", "<option>"),
    ("<svg><foreignObject>", "<b>", "</x>"),
    ("<svg><foreignObject>", "<b>", "<p>"),
    ("<svg><foreignObject><table><td>", "<i>", "</td>"),
    ("<svg><foreignObject><table><td>", "<i>", "</tbody>"),
    ("<svg><foreignObject><table><td>", "<i>", "<td>"),
    ("<svg><foreignObject><table><td>", "<div>", "<tr>"),
    ("<svg><foreignObject>", "<table><td>", "</th>"),
    ("<svg><foreignObject>", "<svg><desc>", "</p>"),
    ("<svg><foreignObject>", "<object>", "<b>"),
    ("<svg><foreignObject>", "<template>", "</b>"),
    ("<svg><foreignObject><b><big><code><em><i><s><tt><u>", "<div>", "</b>"),
    ("<svg><foreignObject><p><b><big><code><em><i><s><tt><u></p>", "<div>", "<p>a</p>"),
];

/// How many elements are followed.
pub(crate) const DEEP: usize = 500;

/// All of them, the deep ones included.
pub(crate) fn floods() -> Vec<(String, &'static str)> {
    let shallow = FLOODS.iter().map(|(start, again)| ((*start).to_owned(), *again));
    shallow.chain(DEEP_FLOODS.iter().map(|flood| deep(*flood, DEEP))).collect()
}

/// Behind about so many open elements.
pub(crate) fn deep(
    (start, opened, again): (&'static str, &'static str, &'static str),
    depth: usize,
) -> (String, &'static str) {
    (start.to_owned() + &opened.repeat(depth / opened.matches('<').count()), again)
}

pub(crate) fn flood(start: &str, again: &str, len: usize) -> Vec<u8> {
    [start, &again.repeat(len / again.len())].concat().into_bytes()
}
