//! Where one way of reading hands over to another: what comes out is what the states alone make of a page, byte by
//! byte, however it is cut.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::force_https_body::policy::Targets;

/// Without the skim, without what is read at once, and without pieces.
fn twin(page: &[u8], syntax: Syntax, policy: &UpgradePolicy) -> Vec<u8> {
    let mut engine = Engine::new(syntax, HostPort::parse(b"own.example"));
    for byte in page {
        engine.tokenizer.read(&[*byte], &mut engine.rewriter.with(policy));
        engine.rewriter.undecided_from(engine.tokenizer.position(), policy);
    }
    let end = engine.end(policy);
    engine.write(page, end).into()
}

fn in_pieces<'a>(
    syntax: Syntax,
    policy: &UpgradePolicy,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut engine = Engine::new(syntax, HostPort::parse(b"own.example"));
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&engine.push(Bytes::copy_from_slice(piece), policy));
    }
    out.extend_from_slice(&engine.finish(policy));
    assert!(engine.held.is_empty() && engine.unread.is_empty());
    out
}

fn policies() -> [UpgradePolicy; 3] {
    let all = Targets::FORM_ACTION | Targets::META_REFRESH | Targets::DATA_ATTRIBUTES | Targets::LINK_ANY_REL;
    [UpgradePolicy::new(), UpgradePolicy::new().targets(all).max_hold(7), UpgradePolicy::new().max_hold(30)]
}

fn assert_one_output(page: &[u8], cuts: &[usize]) {
    for (index, policy) in policies().iter().enumerate() {
        for syntax in [Syntax::Html, Syntax::Xml] {
            let due = twin(page, syntax, policy);
            let assert_same = |out: &[u8], how: &str| {
                assert_eq!(
                    String::from_utf8_lossy(out),
                    String::from_utf8_lossy(&due),
                    "{:?} {syntax:?} policy {index} {how}",
                    String::from_utf8_lossy(page)
                );
            };
            assert_same(&in_pieces(syntax, policy, [page]), "in one piece");
            assert_same(&in_pieces(syntax, policy, page.chunks(1)), "byte by byte");
            let with_empty = page.chunks(1).flat_map(|byte| [byte, &[]]);
            assert_same(&in_pieces(syntax, policy, with_empty), "with empty pieces");
            let pieces = cuts.windows(2).map(|cut| &page[cut[0]..cut[1]]);
            assert_same(&in_pieces(syntax, policy, pieces), &format!("cut at {cuts:?}"));
            let own = HostPort::parse(b"own.example");
            let scheme = Some(from_scheme(page)).filter(|scheme| *scheme > 0);
            let whole = scheme.and_then(|scheme| Engine::new(syntax, own).whole(page, scheme, policy));
            assert_same(whole.as_deref().unwrap_or(page), "as a whole");
        }
    }
}

/// In two, at every place.
fn assert_one_output_of_any_cut(page: &str) {
    for at in 0..=page.len() {
        assert_one_output(page.as_bytes(), &[0, at, page.len()]);
    }
}

fn some(words: &'static [&'static str]) -> BoxedStrategy<String> {
    select(words).prop_map(str::to_owned).boxed()
}

/// Of a URL and all that may break it.
fn url() -> BoxedStrategy<String> {
    let part = some(&[
        "h",
        "ht",
        "tp",
        "htt",
        "p",
        "http",
        "HTTP",
        "http:",
        "http://",
        "http://h/",
        "http://own.example/",
        ":",
        "//",
        "/",
        "h",
        ".example",
        ":80",
        ":8080",
        "&#104;ttp:",
        "ht&Tab;tp:",
        "&colon;",
        "&#58;",
        "&#5",
        "8;",
        "&",
        "&amp;",
        "\\",
        "\\:",
        "\\3a ",
        "\n",
        "\t",
        "\0",
        " ",
        "]",
        "]]",
        "[",
        "[::1]",
        "@",
        ",",
        "http://h/ 1x, ",
        "é",
        "\u{ff48}",
        "localhost",
        "http&#58;//h/",
        "http\\:\\/\\/h/",
    ]);
    let broken = vec(part, 0..6).prop_map(|parts| parts.concat());
    prop_oneof![3 => some(&["http://h/", "http://h:80/x", "HTTP://h", "http&colon;//h/", "/x", "https://h/"]), 2 => broken].boxed()
}

/// What may stand in the middle of the text of an element.
const SEAMS: &[&str] = &[
    "<!-- -->",
    "<!---->",
    "<!-- http:-->",
    "]]>",
    "<![CDATA[",
    "]",
    "]]",
    "</>",
    "</ x>",
    "<?x?>",
    "<",
    "</",
    "<!",
    "<b>",
    "</b>",
    "<b/>",
    "&#5",
    "&",
    "</stylexabcdefghijklmnopqrstuvwxyzabcdef",
    "</abcdefghijklmnopqrstuvwxyzabcdefgh*",
    "</title",
    "</style",
    "</styl",
    "</scriptx",
    "<!a>",
    "/*",
    "*/",
];

fn css() -> BoxedStrategy<String> {
    let part = prop_oneof![
        4 => url(),
        4 => some(&["url(", "a{b:url(", "url('", "url(\"", "@import '", "@import \"", "image-set('", "@namespace '", "/*", "*/"]),
        3 => some(&["')", ")", "\")", "'", "\"", ";", "}", "{", "\\", "a", "/", "*", "@", "#"]),
        3 => select(SEAMS).prop_map(str::to_owned),
        3 => (url(), select(SEAMS), url()).prop_map(|(a, seam, b)| format!("url({a}{seam}{b})")),
    ];
    vec(part, 0..6).prop_map(|parts| parts.concat()).boxed()
}

fn element() -> BoxedStrategy<String> {
    let name = some(&[
        "img",
        "IMG",
        "link",
        "source",
        "base",
        "p",
        "a",
        "svg",
        "image",
        "use",
        "video",
        "meta",
        "td",
        "form",
        "g",
        "path",
        "noscript",
        "template",
        "iframe",
        "x-y",
        "font",
        "foreignObject",
        "desc",
    ]);
    let attribute = (
        some(&[" ", " ", "\n", "/", " / ", ""]),
        some(&[
            "src", "SRC", "href", "srcset", "style", "rel", "xlink:href", "data-src", "poster", "content", "http-equiv",
            "title", "alt", "imagesrcset", "background", "action", "a", "src\0", "\"", "",
        ]),
        some(&["=", "=", "=", "= ", " =", "", "=="]),
        prop_oneof![5 => url(), 1 => css(), 2 => some(&["icon", "stylesheet next", "canonical", "refresh", "0;url=http://h/", ""])],
        some(&["\"\"", "''", "\"\"", "''", "  ", "  ", "\" ", " '", "'\""]),
    )
        .prop_map(|(space, name, sign, value, quotes)| {
            let (open, close) = quotes.split_at(1);
            format!("{space}{name}{sign}{}{value}{}", open.trim(), close.trim())
        });
    let end = some(&[">", ">", ">", "/>", " >", "", "/ >", "<", "</"]);
    (name, vec(attribute, 0..4), end)
        .prop_map(|(name, attributes, end)| format!("<{name}{}{end}", attributes.concat()))
        .boxed()
}

/// Written as most are: after the first one, its host is known.
fn image() -> BoxedStrategy<String> {
    let attribute = some(&[
        " src=\"http://h/a\"",
        " src='http://h/&amp;'",
        "\nSRC=http://h/",
        " src",
        " src='http://h'",
        " src='http://h.example/'",
        " src='http://own.example/a'",
        " src='http://localhost/'",
        " src='http://h:80/'",
        " src=\"http://h:80/a\"",
        " src='/a'",
        " src=' http://h/'",
        " srcset=\"http://h/a 1x, http://h/b 2x\"",
        " srcset=' ,http://h/,http://h/a, http://h/b,,http://h/c '",
        " srcset='http://h/ (,http://h/a), http://h/b'",
        " srcset='http://h/ http://h/, http://h/a 1x'",
        " srcset='http://h/&#44; http://h/a'",
        " srcset='/a 1x, http://h/b'",
        " style='a:url(http://h/)'",
        " data-src='http://h/'",
        " data-srcset='http://h/ 1x, http://h/'",
        " title='http://h/'",
        " alt=\"\"",
        " hidden",
        " /",
        "=",
    ]);
    let name = some(&["img", "img", "source", "IMG", "link rel=icon", "td"]);
    (name, vec(attribute, 0..4), some(&[">", ">", "/>", " >", "", "<"]))
        .prop_map(|(name, attributes, end)| format!("<{name}{}{end}", attributes.concat()))
        .boxed()
}

fn page() -> BoxedStrategy<String> {
    let held = (
        some(&[
            "style",
            "title",
            "textarea",
            "script",
            "xmp",
            "iframe",
            "noscript",
            "svg><style",
            "svg><title",
            "math><mi",
            "STYLE",
        ]),
        some(&[">", ">", " a=b>", "/>", ""]),
        css(),
        some(&[
            "</style>",
            "</title>",
            "</script >",
            "</textarea\n>",
            "</xmp/>",
            "</noscript>",
            "</style></svg>",
            "</svg>",
            "",
            "</STYLE a='>'>",
        ]),
    )
        .prop_map(|(name, end, text, close)| format!("<{name}{end}{text}{close}"));
    let piece = prop_oneof![
        6 => element(),
        3 => image(),
        1 => vec(image(), 2..5).prop_map(|images| images.concat()),
        5 => held,
        2 => url(),
        2 => url().prop_map(|url| format!("<!--{url}-->")),
        2 => url().prop_map(|url| format!("<script>{url}</script>")),
        2 => url().prop_map(|url| format!("<svg><g><path d='{url}'/>{url}</g><use href='{url}'/></svg>")),
        3 => some(&[
            "</svg>", "</style>", "</noscript>", "</title>", "</template>", "</p>", "</p a='http:/'>", "</p a='><img src=http://h/>'>", "<plaintext>", "<svg>",
            "<math>", "<noscript>", "<script><!--", "<script><!--<script>", "-->", "</script>", "<!--", "<!-->", "<!--->",
            "--!>", "<![CDATA[", "]]>", "<svg><title>", "<svg><desc><img src=http://h/>", "<svg><foreignObject>", "<annotation-xml encoding=text/html>",
            "text", "\u{feff}", "<!DOCTYPE html>", "<!DOCTYPE x [", "<?xml ?>", "<", "</", "<!", "&",
        ]),
    ];
    let cut = prop_oneof![4 => Just(None), 1 => any::<Index>().prop_map(Some)];
    (vec(piece, 0..7), cut)
        .prop_map(|(pieces, cut)| {
            let mut page = pieces.concat();
            if let Some(cut) = cut {
                let end = page.floor_char_boundary(cut.index(page.len() + 1));
                page.truncate(end);
            }
            page
        })
        .boxed()
}

fn one_output(cases: u32) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 50_000,
        ..ProptestConfig::default()
    };
    proptest!(config, |(page in page(), cuts in vec(any::<Index>(), 0..6))| {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(page.len() + 1)).collect();
        cuts.extend([0, page.len()]);
        cuts.sort_unstable();
        assert_one_output(page.as_bytes(), &cuts);
    });
}

#[test]
fn the_output_is_that_of_the_states_however_a_page_is_cut() {
    one_output(1_024);
}

#[test]
#[ignore = "takes minutes without optimisation"]
fn the_output_is_that_of_the_states_a_hundred_thousand_times() {
    one_output(100_000);
}

#[test]
fn a_long_name_in_a_style_is_no_comment_of_css() {
    for end in ["*", "x*", "\\*"] {
        let page = format!("<style></abcdefghijklmnopqrstuvwxyzabcdefgh{end}{{b:url(http://h/)}}</style>");
        assert_one_output_of_any_cut(&page);
        assert_eq!(
            twin(page.as_bytes(), Syntax::Html, &UpgradePolicy::new()),
            page.replace("http:", "https:").as_bytes()
        );
    }
}

#[test]
fn a_url_with_markup_in_its_scheme_or_port_is_left_alone() {
    for seam in ["<!-- -->", "<![CDATA[", "]]>", "]", "]]", "</>", "<?x?>", "<!a>"] {
        for (start, end) in
            [("ht", "tp://h/"), ("http", "://h/"), ("http&#5", "8;//h/"), ("http://h:8", "0/")]
        {
            for (open, close) in
                [("<svg><style>", "</style></svg>"), ("<svg><style><![CDATA[", "]]></style></svg>")]
            {
                let page = format!("{open}a{{b:url({start}{seam}{end})}}{close}");
                assert_one_output_of_any_cut(&page);
                for syntax in [Syntax::Html, Syntax::Xml] {
                    assert_eq!(
                        String::from_utf8(twin(page.as_bytes(), syntax, &UpgradePolicy::new())).unwrap(),
                        page,
                        "{syntax:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_style_whose_end_tag_has_an_attribute() {
    let page = "<style>a{b:url(http://h/)}</style a='>'>";
    assert_one_output_of_any_cut(page);
    assert_eq!(
        twin(page.as_bytes(), Syntax::Html, &UpgradePolicy::new()),
        page.replace("http:", "https:").as_bytes()
    );
}

#[test]
fn the_known_host_with_a_port_or_a_user() {
    for authority in ["h:80", "h:8080", "u@h", "u:80@h", "u&amp;amp@h", "[::1]", "127.0.0.1", "h%2e", "H"] {
        let image = format!("<img src='http://{authority}/a' srcset='http://{authority}/ 1x'>");
        assert_one_output_of_any_cut(&format!("{image}{image}<img src=http://h/>{image}"));
    }
}

#[test]
fn a_tag_in_the_attribute_of_an_end_tag() {
    assert_one_output_of_any_cut(
        "</p a='><img src=http://h/>'></p a=\"'><img src=http://h/>\"><img src='http://h/'>",
    );
}

#[test]
fn each_url_of_the_known_host_is_reported() {
    thread_local!(static SEEN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });
    let page = "<img src=http://h/a><img src=http://h/b srcset='http://h/c 1x, http://h/d 2x'>";
    let policy = UpgradePolicy::new().on_rewrite(|_| SEEN.set(SEEN.get() + 1));
    let upgraded = in_pieces(Syntax::Html, &policy, [page.as_bytes()]);
    assert_eq!((upgraded, SEEN.take()), (page.replace("http:", "https:").into_bytes(), 4));
    let unchanged = in_pieces(Syntax::Html, &policy.report_only(), [page.as_bytes()]);
    assert_eq!((unchanged, SEEN.take()), (page.into(), 4));
    let silent = in_pieces(Syntax::Html, &UpgradePolicy::new().report_only(), [page.as_bytes()]);
    assert_eq!(silent, page.as_bytes());
}
