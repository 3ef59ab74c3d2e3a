//! Pages as strategies: HTML and foreign content in any disorder, and every kind of value in every attribute.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn one(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(of).prop_map(str::to_owned)
}

fn joined(parts: Vec<BoxedStrategy<String>>) -> BoxedStrategy<String> {
    parts.prop_map(|parts| parts.concat()).boxed()
}

fn some(of: &'static [&'static str]) -> BoxedStrategy<String> {
    one(of).boxed()
}

/// What may stand in for a URL; with references where `is_decoded`.
fn url(is_decoded: bool) -> BoxedStrategy<String> {
    let colon = if is_decoded {
        some(&[":", ":", ":", ":", "&#58;", "&colon;", "&#x3A", "", "&colon", "&Colon;"])
    } else {
        some(&[":", ":", ":", ":", "&#58;", "", ";"])
    };
    let slashes = if is_decoded {
        some(&["//", "//", "//", "//", "\\/", "/", "", "///", "&#47;/", "&sol;&bsol;", "/&#10;/", "/\n/"])
    } else {
        some(&["//", "//", "//", "//", "/", "", "///", "&#47;/"])
    };
    let url = joined(vec![
        some(&["http", "http", "http", "http", "HTTP", "hTtp", "https", "ftp", "data", "", "httpx", "xhttp"]),
        colon,
        slashes,
        some(&["", "", "", "", "u:80@", "a@b@", "u@"]),
        some(&[
            "h.example",
            "h.example",
            "H.Example.",
            "own.example",
            "OWN.example",
            "localhost",
            "a.LOCALHOST",
            "127.0.0.1",
            "[::1]",
            "bücher.example",
            "localhost.example",
            "",
        ]),
        some(&["", "", "", ":80", ":080", ":8080", ":", ":443", ":x", ":99999"]),
        some(&["", "/", "/x.png", "?q=http://h.example/", "#f", "/a,b", "/a&amp;b", "\\x", "/&", "/é"]),
    ]);
    prop_oneof![8 => url, 1 => one(&["/x", "", "h", "http", "http:", "http:/", "http://", "//h.example/", "about:blank"])]
        .boxed()
}

pub(crate) fn padded_url() -> BoxedStrategy<String> {
    let pad = || some(&["", "", "", "", " ", "\n\t", "\x0c", "\u{1}", "&#32;", "\0", "\u{a0}", "x"]);
    joined(vec![pad(), url(true), pad()])
}

pub(crate) fn srcset() -> BoxedStrategy<String> {
    let candidate = joined(vec![
        some(&["", " ", ",", ", "]),
        url(true),
        some(&[
            "",
            " 1x",
            " 2x,",
            ",",
            ", ",
            " 100w ,",
            " (a,b)",
            " (, http://h.example/ )",
            " (",
            ")",
            ",,",
            "\t1.5x\n,",
        ]),
    ]);
    vec(candidate, 0..4).prop_map(|candidates| candidates.concat()).boxed()
}

/// Of a style sheet, or of the value of an attribute.
pub(crate) fn css(is_decoded: bool) -> BoxedStrategy<String> {
    let url = || url(false).prop_map(|url| url.replace('\\', "/")).boxed();
    let raw = joined(vec![some(&["url(", "URL(", "url( ", "url(\n"]), url(), some(&[")", " )", "\n)"])]);
    let function = joined(vec![some(&["url(\"", "url( \""]), url(), some(&["\")", "\" )"])]);
    let single = joined(vec![some(&["url('"]), url(), some(&["')"])]);
    let text = joined(vec![some(&["\"", "/* \" */\""]), url(), some(&["\""])]);
    let value = prop_oneof![3 => raw, 2 => function, 2 => single, 2 => text].boxed();
    // Brackets close: a URL in a block that is broken is fetched by nobody.
    let bracketed = (
        select(
            &[
                ("", ""),
                ("", ""),
                ("a{b:", "}"),
                ("c:", ";"),
                ("@import ", ";"),
                ("@IMPORT/**/", " screen;"),
                ("@namespace ", ";"),
                ("@namespace svg ", ";"),
                ("@document ", "{a{b:url(http://h.example/)}}"),
                ("@media x{a{b:", "}}"),
                ("image-set(", " 1x)"),
                ("-webkit-image-set(", ")"),
                ("image-set(url(x) 1x,", " 2x)"),
                ("image-set(type(", ") \"http://h.example/\" 2x)"),
                ("f(", ")"),
                ("image-set(f(", "))"),
                ("image-set(url(\"x\") 1x,", " 2x)"),
                ("@font-face{src:local(a),", "}"),
                ("\\7arl(", ")"),
                ("xurl(", ")"),
                ("a#url(", ")"),
                ("url-prefix(", ")"),
                ("/* ", " */"),
                ("<!-- ", " -->"),
                ("@supports (a:", ") {}"),
                ("@import supports(", ") \"http://h.example/\";"),
                ("a[b=", "]{}"),
                ("'a\\\nb\\'", "'"),
                ("'a\n", ""),
            ][..],
        ),
        value,
    );
    let bracketed = bracketed.prop_map(|((open, close), value)| [open, &value, close].concat()).boxed();
    let wrapped = joined(vec![
        bracketed,
        some(&[
            "",
            "",
            ";",
            "}",
            ")",
            " ",
            "\n",
            "@import ",
            "u",
            "@",
            "/",
            "é",
            "</abcdefghijklmnopqrstuvwxyzabc*",
        ]),
    ]);
    let sheet = vec(wrapped, 0..4).prop_map(|parts| parts.concat());
    sheet.prop_map(move |sheet| if is_decoded { sheet.replace('"', "&quot;") } else { sheet }).boxed()
}

pub(crate) fn rel() -> BoxedStrategy<String> {
    let word = some(&[
        "icon",
        "stylesheet",
        "STYLESHEET",
        "canonical",
        "alternate",
        "preload",
        "iconic",
        "next",
        "&#105;con",
    ]);
    vec(word, 0..3).prop_map(|words| words.join(" ")).boxed()
}

fn quoted() -> impl Strategy<Value = String> {
    let value = prop_oneof![6 => padded_url(), 3 => srcset(), 3 => css(true), 2 => rel(), 1 => one(&["", "text/html", ">", "a=b", "1"])];
    (value, select(&["\"", "'", ""][..])).prop_map(|(value, quote)| quote_with(&value, quote))
}

fn quote_with(value: &str, quote: &str) -> String {
    let is_bare = |char: char| !char.is_ascii_whitespace() && !"\"'<>`=".contains(char);
    match quote {
        "" if !value.is_empty() && value.chars().all(is_bare) && !value.ends_with('/') => value.to_owned(),
        "'" => format!("'{}'", value.replace('\'', "&#39;")),
        _ => format!("\"{}\"", value.replace('"', "&quot;")),
    }
}

fn attributes() -> BoxedStrategy<String> {
    let space = || some(&[" ", " ", "\n", " / ", "\t"]);
    let free = joined(vec![
        space(),
        some(&[
            "src",
            "SRC",
            "srcset",
            "href",
            "rel",
            "style",
            "xlink:href",
            "data",
            "imagesrcset",
            "poster",
            "background",
            "action",
            "content",
            "data-src",
            "alt",
            "xsrc",
            "src\0",
            "=src",
        ]),
        some(&["=", "=", "=", " = "]),
        quoted().boxed(),
    ]);
    let fitting = prop_oneof![
        3 => joined(vec![space(), some(&["src=", "href=", "data=", "poster=", "background=", "xlink:href="]),
            padded_url().prop_map(|url| quote_with(&url, "\"")).boxed()]),
        2 => joined(vec![space(), some(&["srcset=", "imagesrcset="]), srcset().prop_map(|set| quote_with(&set, "'")).boxed()]),
        1 => joined(vec![space(), some(&["style="]), css(true).prop_map(|css| quote_with(&css, "\"")).boxed()]),
        1 => joined(vec![space(), some(&["rel="]), rel().prop_map(|rel| quote_with(&rel, "")).boxed()]),
        1 => some(&[" alt", " a=b", " \"", " hidden="]),
    ];
    vec(prop_oneof![2 => free, 5 => fitting.boxed()], 0..4).prop_map(|all| all.concat()).boxed()
}

#[rustfmt::skip]
const HTML: &[&str] = &[
    "img", "img", "image", "source", "link", "link", "base", "embed", "input", "frame", "video",
    "audio", "track", "object", "body", "table", "tbody", "tr", "td", "th", "thead", "tfoot", "a", "area", "p", "div", "b",
    "form", "button", "select", "option", "li", "dd", "h1", "font", "center", "meta", "html", "head", "picture", "template",
    "caption", "details", "IMG", "Link", "use", "feImage", "image-x", "br", "hr", "nobr", "ruby", "rt", "marquee",
];

fn start(names: &'static [&'static str]) -> BoxedStrategy<String> {
    joined(vec![some(&["<"]), some(names), attributes(), some(&[">", ">", "/>", " >"])])
}

fn held_text() -> BoxedStrategy<String> {
    let inside = || {
        some(&[
            "",
            "a",
            "<img src=http://h.example/>",
            "<!--",
            "-->",
            "</p>",
            "&lt;",
            "<![CDATA[",
            "</",
            "url(http://h.example/)",
        ])
    };
    let element = |name: &'static str| {
        let open = joined(vec![Just(format!("<{name}")).boxed(), attributes(), some(&[">"])]);
        joined(vec![open, inside(), inside(), Just(format!("</{name}>")).boxed()])
    };
    let of = |names: [&'static str; 8]| proptest::strategy::Union::new(names.map(element)).boxed();
    prop_oneof![
        4 => of(["title", "textarea", "xmp", "iframe", "noembed", "noframes", "script", "iframe"]),
        2 => joined(vec![some(&["<script"]), attributes(), some(&[
            "></script>", "><!-- <script> </script> --></script>", "><!-- <script></script><img src=http://h.example/></script>",
            ">'<!--'</script>", "><!--<script>--></script>",
        ])]),
    ]
    .boxed()
}

fn style() -> BoxedStrategy<String> {
    joined(vec![
        some(&["<style", "<STYLE"]),
        attributes(),
        some(&[">"]),
        css(false),
        some(&["</style>", "</style >", "</style a='>'>"]),
    ])
}

fn comment() -> BoxedStrategy<String> {
    some(&[
        "<!-- <img src=http://h.example/> -->",
        "<!-->",
        "<!--->",
        "<!--a--!>",
        "<!-- - -- --->",
        "<?php http://h.example/ ?>",
        "<!doctype html>",
        "<![CDATA[ <b> ]]>",
        "<![CDATA[ > <img src=http://h.example/> ]]>",
        "</ img>",
        "<!a>",
        "</>",
    ])
}

fn well_nested_html(inner: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let container = |name: &'static str| {
        joined(vec![
            Just(format!("<{name}")).boxed(),
            attributes(),
            some(&[">"]),
            inner.clone(),
            Just(format!("</{name}>")).boxed(),
        ])
    };
    prop_oneof![
        3 => start(&["img", "input", "link", "embed", "IMG"]),
        1 => proptest::strategy::Union::new(["div", "span", "b", "object", "video"].map(container)),
        1 => held_text(),
        1 => style(),
        1 => comment().prop_filter("CDATA", |text| !text.contains("CDATA")),
        1 => some(&["x", " ", "<br>", "<wbr/>"]),
    ]
    .boxed()
}

fn svg_sheet() -> BoxedStrategy<String> {
    css(false).prop_map(|css| css.replace(['<', '&'], "")).boxed()
}

/// `svg` and `math`, closed in the order in which they were opened.
fn foreign() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        5 => joined(vec![some(&["<image", "<use", "<feImage", "<script", "<path", "<img-x", "<source-x", "<link-x"]), attributes(), some(&["/>"])]),
        1 => some(&["<![CDATA[ <b> ]] ]]>", "text", "<!-- x -->", "<title/>", "<style/>", "</p", "<desc/>", "<mi/>"]
            ).prop_map(|text| text.replace("</p", "")),
        2 => joined(vec![some(&["<style"]), attributes(), some(&[">"]), svg_sheet(), some(&["</style>"])]),
        1 => joined(vec![some(&["<style>"]), svg_sheet(), some(&["<!-- http: -->", "<?x?>", "<![CDATA[]]>"]), svg_sheet(), some(&["</style>"])]),
        1 => joined(vec![some(&["<style><![CDATA["]), css(false).prop_map(|css| css.replace("]]>", "")).boxed(), some(&["]]></style>", "]]]></style>", "]]]]]></style>"])]),
    ]
    .boxed();
    leaf.prop_recursive(4, 24, 4, |inner| {
        let inside = vec(inner.clone(), 0..3).prop_map(|all| all.concat()).boxed();
        let nested = joined(vec![some(&["<svg>"]), inside.clone(), some(&["</svg>"])]);
        let html = vec(prop_oneof![3 => well_nested_html(nested.clone()), 1 => nested], 0..3)
            .prop_map(|all| all.concat())
            .boxed();
        let element = |open: &'static str, inside: &BoxedStrategy<String>| {
            let name = open.split(' ').next().unwrap();
            joined(vec![
                Just(format!("<{open}")).boxed(),
                attributes(),
                some(&[">"]),
                inside.clone(),
                Just(format!("</{name}>")).boxed(),
            ])
        };
        prop_oneof![
            2 => element("svg", &inside),
            1 => element("math", &inside),
            1 => proptest::strategy::Union::new(["g", "a", "font", "mrow", "defs"].map(|name| element(name, &inside))),
            1 => joined(vec![some(&["<svg>"]), proptest::strategy::Union::new(["title", "desc", "foreignObject", "TITLE"].map(|name| element(name, &html))).boxed(), inside.clone(), some(&["</svg>"])]),
            1 => joined(vec![some(&["<math>"]), proptest::strategy::Union::new(["mi", "mo", "mn", "ms", "mtext", "annotation-xml encoding=text/html", "annotation-xml encoding=\"APPLICATION/xhtml+XML\""].map(|name| element(name, &html))).boxed(), inside.clone(), some(&["</math>"])]),
            1 => joined(vec![some(&["<math>"]), element("annotation-xml encoding=x", &inside), some(&["</math>"])]),
        ]
    })
    .boxed()
}

fn outermost_foreign() -> BoxedStrategy<String> {
    joined(vec![some(&["<svg>"]), foreign(), some(&["</svg>"])])
        .prop_union(joined(vec![some(&["<math>"]), foreign(), some(&["</math>"])]))
        .boxed()
}

#[rustfmt::skip]
const NESTED: &[&str] = &[
    "p", "p", "div", "div", "span", "b", "b", "i", "a", "a", "nobr", "font", "x-y", "ul", "li", "li", "dd", "dt", "h1", "h2",
    "button", "form", "select", "option", "optgroup", "object", "template", "ruby", "rt", "rb", "rtc", "pre", "center",
    "table", "body", "label", "details", "br", "hr", "input", "img", "embed",
];

#[rustfmt::skip]
const NESTED_IN_TABLE: &[&str] = &[
    "table", "caption", "colgroup", "col", "tbody", "thead", "tr", "td", "td", "th", "p", "div", "b", "i", "a", "li", "form",
    "template", "select", "input", "button", "object",
];

#[rustfmt::skip]
const FOREIGN: &[&str] = &[
    "svg", "svg", "math", "g", "a", "font", "foreignObject", "foreignObject", "desc", "title", "mi", "mtext", "mglyph", "mrow",
    "annotation-xml", "table", "p",
];

/// `svg` or `math`, and start and end tags of all kinds in any order, with what shows where it stands.
fn disordered_foreign() -> BoxedStrategy<String> {
    let shown = some(&[
        "<image href=http://h.example/>",
        "<img src=http://h.example/>",
        "<title><img src=http://h.example/></title>",
        "<title><image href=http://h.example/ /></title>",
        "<![CDATA[><img src=http://h.example/>]]>",
        "<style>a{b:url(http://h.example/)}</style>",
        "<textarea></g></svg><image href=http://h.example/></textarea>",
    ]);
    let point = some(&[
        "<foreignObject>",
        "<svg><foreignObject>",
        "<math><mi>",
        "<math><annotation-xml encoding=text/html>",
        "<math><annotation-xml>",
        "<annotation-xml encoding=application/xhtml+xml>",
        "<font size=1>",
    ]);
    let bare =
        |open: &'static str, names| joined(vec![Just(open.to_owned()).boxed(), some(names), some(&[">"])]);
    let pieces = |html: &'static [&'static str]| {
        let piece = prop_oneof![
            6 => bare("<", html),
            1 => start(html),
            4 => bare("</", html),
            2 => bare("<", FOREIGN),
            3 => bare("</", FOREIGN),
            3 => point.clone(),
            4 => shown.clone(),
            2 => some(&["x", " ", "&amp;", "\0", "<!-- -->", "</>", "<g/>", "<svg/>", "<title/>"]),
        ];
        vec(piece, 0..16).prop_map(|pieces| pieces.concat()).boxed()
    };
    let open = some(&[
        "<svg>",
        "<div><b><svg>",
        "<math>",
        "<svg><desc>",
        "<svg><foreignObject>",
        "<math><mtext>",
        "<math><annotation-xml encoding=text/html>",
    ]);
    let open_table = some(&[
        "<table><tr><td><svg>",
        "<table><caption><svg><foreignObject>",
        "<svg><foreignObject><table>",
        "<svg><desc><table><tbody>",
        "<math><mi><table><td>",
        "<svg><foreignObject><template>",
        "<math><annotation-xml encoding=text/html><table><tr>",
    ]);
    prop_oneof![joined(vec![open, pieces(NESTED)]), joined(vec![open_table, pieces(NESTED_IN_TABLE)]),]
        .boxed()
}

fn noscript() -> BoxedStrategy<String> {
    let inside = vec(
        prop_oneof![
            4 => start(&["img", "link", "p", "div"]),
            1 => style(),
            1 => some(&["<!-- x -->", "text", "</p>", "<svg><title>a</title><image href='http://h.example/'/></svg>"]),
        ],
        0..3,
    );
    inside.prop_map(|inside| format!("<noscript>{}</noscript>", inside.concat())).boxed()
}

/// Start and end tags in any order; what holds text is closed.
pub(crate) fn page() -> BoxedStrategy<String> {
    let piece = prop_oneof![
        10 => start(HTML),
        3 => joined(vec![some(&["</"]), some(HTML), some(&[">", " >", " a=b>"])]),
        3 => held_text(),
        2 => style(),
        3 => outermost_foreign(),
        2 => disordered_foreign(),
        1 => noscript(),
        1 => comment(),
        2 => some(&["text ", " ", "&amp;", "http://h.example/", "<", "< ", "</svg>", "</math>", "</title>", "\0", "é"]),
    ];
    let cut = prop_oneof![4 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    (some(&["", "<!doctype html>"]), vec(piece, 0..8), cut)
        .prop_map(|(doctype, pieces, cut)| {
            let mut page = doctype + &pieces.concat();
            if let Some(cut) = cut {
                let ends: Vec<usize> = page.char_indices().map(|(at, _)| at).collect();
                let end = if ends.is_empty() { 0 } else { *cut.get(&ends) };
                // A cut inside of `noscript` is for the scripts to judge: there browsers differ.
                if !page.contains("noscript") {
                    page.truncate(end);
                }
            }
            page
        })
        .boxed()
}
