use proptest::prelude::*;

use super::scheme::scheme_at;
use super::*;
use crate::force_https_body::policy::{Hosts, Targets};

fn upgrade(page: &str) -> String {
    upgrade_fragment(page, &UpgradePolicy::new()).into_owned()
}

fn in_pieces<'a>(
    mut upgrader: Upgrader,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    max_held: usize,
) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&upgrader.push(Bytes::copy_from_slice(piece)));
        assert!(upgrader.engine.held.len() <= max_held, "{} bytes wait", upgrader.engine.held.len());
    }
    out.extend_from_slice(&upgrader.finish());
    assert!(upgrader.is_drained());
    out
}

/// The `out` of a law: each place that differs is a scheme, or a port that says what the scheme says.
fn differs_in_schemes_only(page: &[u8], out: &[u8]) -> bool {
    let (mut page, mut out) = (page, out);
    loop {
        let same = page.iter().zip(out).take_while(|(a, b)| a == b).count();
        if same == page.len() && same == out.len() {
            return true;
        }
        // Letters of a scheme in upper case differ before the `s` does.
        let scheme = (same.saturating_sub(4)..=same).rev().find(|at| {
            page.get(*at..at + 4).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"http"))
                && out.get(*at..at + 5) == Some(b"https")
        });
        let Some(at) = scheme else {
            let digits = page[same..].strip_prefix(b":").or_else(|| page[same..].strip_prefix(b"&#58;"));
            let Some(digits) = digits else { return false };
            let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
            let Some(rest) = digits[zeros..].strip_prefix(b"80") else { return false };
            (page, out) = (rest, &out[same..]);
            continue;
        };
        (page, out) = (&page[at + 4..], &out[at + 5..]);
    }
}

fn words(words: &'static [&'static str]) -> impl Strategy<Value = Cow<'static, str>> {
    prop::sample::select(words).prop_map(Cow::Borrowed)
}

/// Pages of what makes a difference, in any order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => words(&[
            "http://h/x", "HTTP://h:80/", "http&#58;//h&#58;080?", "http:\\\\u@h:8080", "http://localhost/", "http:", "h",
            "http://h ", "http://h/a, http://i/b 2x,", "url(http://h/x)", "url( 'http://h/'", "@import \"http://h/\";",
            "@namespace url(http://n)", "image-set(\"http://h/\" 1x)", "/* http://h */", "&quot;", "&amp", "&#x3a", "\\",
        ]),
        8 => words(&[
            " src=", " srcset=", " href=", " rel=", " style=", " xlink:href=", " data=", " imagesrcset=", "stylesheet",
            " canonical", "\"", "'", "=", " ", "\n", "/", ">", "<", "</", "!", "-", "?", "]",
        ]),
        8 => words(&[
            "<img", "<a", "<link", "<LINK", "<base", "<svg>", "</svg>", "<svg><image", "<math>", "<title>", "</title>",
            "<style>", "</style>", "<script>", "</script>", "<script", "<noscript>", "</noscript>", "<textarea>",
            "</textarea>", "<!--", "-->", "--!>", "<![CDATA[", "]]>", "<!DOCTYPE", "<foreignObject>", "</foreignObject>",
            "<p>", "</p>", "<plaintext>", "<annotation-xml encoding=\"text/html\">", "<font color=red>",
        ]),
        4 => words(&[
            "<svg><g>", "</g></svg>", "<path d='M0'/>", "<use href=\"http://h/\">", "</use>", "<g/>", "<a href=\"http://h/\">",
            "<!-- http://h/ -->", "<script>http://h/</script>", "<style>a{b:url(http://h/)}</style>", "<img src='http://h/'>",
            "<title>http://h/</title>", "<p style=\"a:url(http://h/)\">", "<p title=http://h/>", "<!---", "<!-->", "<!--!>",
        ]),
        1 => "\\PC{0,3}".prop_map(Cow::Owned),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Short pages in which a URL would change if its scheme were spelled some other way.
fn nearly_schemes() -> impl Strategy<Value = String> {
    let letters = words(&["http", "HTTP", "hTtP", "\\http"]);
    let no_colon = (letters, words(&["//h/", "/h/", ";//h/", " ://h/"]));
    let no_letters = words(&[
        "htt",
        "&#104;ttp",
        "ht&#116;p",
        "ht\ntp",
        "ht\\tp",
        "http\0",
        "http\n",
        "https",
        "httq",
        "http;",
        "http/",
        "http ",
        "\u{ff48}ttp",
        "h&Tab;ttp",
    ]);
    let colon = words(&["", ":", "&#58;", "&colon;", "\\:", "\\3a ", "\\3a"]);
    let rest = words(&["//h/", "\\/\\/h/", "&sol;/h/"]);
    let url = prop_oneof![
        2 => (no_letters, colon, rest).prop_map(|(letters, colon, rest)| [letters, colon, rest].concat()),
        1 => no_colon.prop_map(|(letters, rest)| [letters, rest].concat()),
    ];
    let place = words(&[
        "<img src=",
        "<img srcset='/a 1x, ",
        "<p style='a:url(",
        "<p style='@import \"",
        "<style>a{b:url(",
        "<style>@import '",
        "<svg><style>a{b:url('",
        "<link rel=icon href=",
        "<base href=\"",
        "<meta http-equiv=refresh content='0;url=",
    ]);
    (place, url, words(&["", ">", "'>", "')</style>", "\">"]))
        .prop_map(|(place, url, end)| format!("{place}{url}{end}"))
}

fn policies() -> Vec<UpgradePolicy> {
    let all = Targets::FORM_ACTION | Targets::META_REFRESH | Targets::DATA_ATTRIBUTES | Targets::LINK_ANY_REL;
    vec![UpgradePolicy::new(), UpgradePolicy::new().targets(all).max_hold(7)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn output_does_not_depend_on_the_cuts(page in soup(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(page.len() + 1)).collect();
        cuts.extend([0, page.len()]);
        cuts.sort_unstable();
        for policy in policies() {
            let policy = Arc::new(policy);
            let starts: [fn(Arc<UpgradePolicy>) -> Upgrader; 2] = [Upgrader::new, Upgrader::xhtml];
            for start in starts {
                let upgrader = || start(Arc::clone(&policy)).own_host(HostPort::parse(b"h").unwrap());
                let whole = in_pieces(upgrader(), [page.as_bytes()], 8192);
                prop_assert_eq!(&in_pieces(upgrader(), page.as_bytes().chunks(1), 8192), &whole);
                let pieces = cuts.windows(2).map(|cut| &page.as_bytes()[cut[0]..cut[1]]);
                prop_assert_eq!(&in_pieces(upgrader(), pieces, 8192), &whole);
            }
        }
    }

    #[test]
    fn a_page_without_a_scheme_stays_as_it_is(page in nearly_schemes()) {
        let page = page.as_bytes();
        prop_assert_eq!(scheme_at(page), None);
        for policy in policies() {
            for start in [Upgrader::new, Upgrader::xhtml] {
                let upgrader = start(policy.clone()).own_host(HostPort::parse(b"h").unwrap());
                prop_assert_eq!(&in_pieces(upgrader, page.chunks(1), 8192), page);
            }
        }
    }

    #[test]
    fn what_is_passed_over_means_nothing(page in soup()) {
        let page = page.as_bytes();
        for (policy, syntax) in policies().iter().zip([Syntax::Html, Syntax::Xml]) {
            let mut skim = Skim::new(syntax, policy.targets, from_scheme(page));
            let mut engine = Engine::new(syntax, None);
            let mut rest = page;
            while !rest.is_empty() {
                let is_plain = engine.tokenizer.is_between_tags() && engine.rewriter.is_in_plain_html();
                let passed = if is_plain { skim.pass(rest) } else { 0 };
                let upgrades = engine.rewriter.upgrades().len();
                for byte in &rest[..passed] {
                    engine.tokenizer.read(&[*byte], &mut engine.rewriter.with(policy));
                }
                if passed > 0 {
                    prop_assert!(engine.tokenizer.is_between_tags() && engine.rewriter.is_in_plain_html());
                    prop_assert_eq!(engine.rewriter.upgrades().len(), upgrades);
                    prop_assert_eq!(engine.rewriter.waiting(), 0);
                    prop_assert_eq!(engine.rewriter.undecided_from(engine.tokenizer.position(), policy), None);
                }
                rest = &rest[passed..];
                let read = engine.tokenizer.read(rest, &mut engine.rewriter.with(policy));
                rest = &rest[read..];
            }
        }
    }

    #[test]
    fn only_schemes_change_and_only_once(page in soup()) {
        for policy in policies() {
            let once = upgrade_fragment(&page, &policy);
            prop_assert!(differs_in_schemes_only(page.as_bytes(), once.as_bytes()), "{page:?} became {once:?}");
            let twice = upgrade_fragment(&once, &policy);
            prop_assert!(matches!(twice, Cow::Borrowed(_)), "{once:?} became {twice:?}");
        }
    }

    #[test]
    fn what_does_not_change_is_not_copied(page in soup()) {
        let mut upgrader = Upgrader::new(Arc::new(UpgradePolicy::new()));
        let page = Bytes::from(page);
        let out = upgrader.push(page.clone());
        if page.starts_with(&out) {
            prop_assert_eq!(out.as_ptr(), page.as_ptr());
        }
    }

    #[test]
    fn any_bytes_pass_without_a_panic(page in prop::collection::vec(any::<u8>(), 0..64)) {
        in_pieces(Upgrader::new(Arc::new(UpgradePolicy::new())), page.chunks(3), 8192);
    }
}

#[test]
fn the_last_piece_is_read_once_another_follows() {
    let mut upgrader = Upgrader::new(UpgradePolicy::new());
    let mut read_after = |piece: &str| {
        assert_eq!(upgrader.push(Bytes::copy_from_slice(piece.as_bytes())), piece);
        assert!(upgrader.is_drained() && upgrader.engine.unread.len() <= MAX_UNREAD);
        upgrader.engine.tokenizer.position()
    };
    assert_eq!(read_after("<p>a"), 0);
    assert_eq!(read_after("<p>b</p>"), 4);
    assert_eq!(read_after("<p>pith"), 19);
    assert_eq!(read_after("<p>http:"), 27);
    assert_eq!(read_after(&"c".repeat(MAX_UNREAD + 1)), 27 + 16 * 1024 + 1);
    assert_eq!(read_after(&"c".repeat(MAX_UNREAD)), 27 + 16 * 1024 + 1);
    assert_eq!(upgrader.finish(), "");
    // A reference spells no letter of a scheme: what of it went out unread is not held any more.
    let mut upgrader = Upgrader::new(UpgradePolicy::new());
    for piece in ["<img src='htt&#11", "2", ";://h/'", "><img alt='http:'>"] {
        assert_eq!(upgrader.push(Bytes::from(piece)), piece);
    }
}

#[test]
fn schemes_at_every_place() {
    for scheme in ["http:", "HTTP&", "hTtP\\"] {
        for len in 0..200 {
            for at in 0..=len {
                let page = format!("{}{scheme}{}", "p".repeat(at), "http".repeat(len - at));
                assert_eq!(scheme_at(page.as_bytes()), Some(at));
            }
        }
    }
    for page in ["http", "https:", "htt:", "xttp:", "ht tp:", "http", "output: tp:", "http;", "hXtp:"] {
        assert_eq!(scheme_at(page.repeat(50).as_bytes()), None, "{page}");
    }
}

#[test]
fn a_link_waits_for_its_relation_and_no_longer() {
    let policy = Arc::new(UpgradePolicy::new().max_hold(40));
    let page =
        |filler: usize| format!("<link href=\"http://h/x\" title=\"{}\" rel=icon>", "a".repeat(filler));
    for filler in 0..40 {
        let page = page(filler);
        let whole = in_pieces(Upgrader::new(Arc::clone(&policy)), [page.as_bytes()], 40);
        let is_upgraded = whole.len() > page.len();
        // From the scheme to the `>` that ends the value of `rel`.
        assert_eq!(is_upgraded, page.len() - 1 - page.find("http").unwrap() <= 40, "{filler}");
        assert_eq!(in_pieces(Upgrader::new(Arc::clone(&policy)), page.as_bytes().chunks(1), 40), whole);
    }
}

/// Bounds of URLs (1,024) and of links (here 40), in pages that reach beyond both.
#[test]
fn no_more_is_held_than_the_bounds_say() {
    let policy = Arc::new(UpgradePolicy::new().max_hold(40));
    let long = |text: &str, count: usize| text.repeat(count);
    let mut most = 0;
    for (page, bound) in [
        (format!("<img src='http://{}/'>", long("a", 3000)), 1024),
        (format!("<img src='http:{}h/'>", long("/", 3000)), 1024),
        (format!("<img src='http:{}h/'>", long("&#47;", 900)), 1024),
        (format!("<img src='http://{}", long("&amp;", 900)), 1024),
        (format!("<img src='http://h:{}80/'>", long("0", 3000)), 1024),
        (format!("<img src='http:{}", long("\n", 3000)), 1024),
        (format!("<p style='a:url(http://{}", long("\\/", 900)), 1024),
        (format!("<style>@import 'http://{}';", long("a", 3000)), 1024),
        (format!("<img srcset='{}'>", long("http://h/ 1x,", 300)), 40),
        (format!("<link imagesrcset='{}' rel=icon>", long("http://h/ 1x,", 300)), 40),
        (format!("<link href=http://h/ {} rel=icon>", long("a=http://h/ ", 300)), 40),
        (format!("<link href=http://{}/ rel=icon>", long("a", 1000)), 1024),
        (format!("<{} src=http://h/>", long("img", 3000)), 40),
        (format!("<img {}=http://h/>", long("src", 3000)), 40),
        (format!("<!--{}-->", long("http://h/", 300)), 0),
        (format!("<img src=' {}http://h/'>", long(" ", 3000)), 40),
        (long("<svg>", 3000), 0),
    ] {
        for step in [1, 7, 1000, page.len()] {
            let mut upgrader = Upgrader::new(Arc::clone(&policy));
            for piece in page.as_bytes().chunks(step) {
                upgrader.push(Bytes::copy_from_slice(piece));
                let held = upgrader.engine.held.len();
                assert!(held <= bound, "{held} bytes wait of {}", &page[..40]);
                most = most.max(held);
                let rewriter = &upgrader.engine.rewriter;
                assert!(rewriter.waiting() <= 5, "{} URLs wait of {}", rewriter.waiting(), &page[..40]);
            }
        }
    }
    println!("at most {most} bytes waited");
}

/// Each URL of a link may be beyond the bound while the next one is not, in one piece as in many.
#[test]
fn of_many_urls_of_a_link_the_last_ones_are_upgraded() {
    let policy = Arc::new(UpgradePolicy::new().max_hold(30));
    let page = "<link imagesrcset='http://a/ 1x,http://b/ 2x,http://c/ 3x,' rel=icon>";
    let expected = page.replace("http://c", "https://c");
    for step in [1, 2, page.len()] {
        let out = in_pieces(Upgrader::new(Arc::clone(&policy)), page.as_bytes().chunks(step), 30);
        assert_eq!(out, expected.as_bytes());
    }
}

#[test]
fn a_giant_value_flows() {
    let mut upgrader = Upgrader::new(Arc::new(UpgradePolicy::new()));
    upgrader.push(Bytes::from_static(b"<img src=\"data:"));
    for _ in 0..100 {
        let piece = Bytes::from(vec![b'h'; 4096]);
        assert_eq!(upgrader.push(piece.clone()).as_ptr(), piece.as_ptr());
    }
    assert!(upgrader.is_drained());
}

#[test]
fn only_half_of_an_upgrade_is_none() {
    // The port is within the bound, the scheme is not.
    let policy = Arc::new(UpgradePolicy::new().max_hold(30));
    let page = format!("<link href=\"http://{}:80/\" rel=icon>", "h".repeat(20));
    assert_eq!(in_pieces(Upgrader::new(policy), page.as_bytes().chunks(1), 30), page.as_bytes());
}

#[test]
fn css_in_svg_and_in_cdata() {
    for (page, expected) in [
        ("<svg><style>a{b:url(http://h/)}</style></svg>", "<svg><style>a{b:url(https://h/)}</style></svg>"),
        (
            "<svg><style><![CDATA[a{b:url(http://h/)}]]></style></svg>",
            "<svg><style><![CDATA[a{b:url(https://h/)}]]></style></svg>",
        ),
        (
            "<svg><style>@import &quot;http://h/&quot;;</style></svg>",
            "<svg><style>@import &quot;https://h/&quot;;</style></svg>",
        ),
        ("<style>a{b:url(http:\\/\\/h\\:80\\/x)}</style>", "<style>a{b:url(https:\\/\\/h\\/x)}</style>"),
        ("<style>a{b:url(http://h", "<style>a{b:url(https://h"),
        (
            "<style>a{b:image-set(\"http://h/\" type(\"http://h/\"))}</style>",
            "<style>a{b:image-set(\"https://h/\" type(\"http://h/\"))}</style>",
        ),
    ] {
        assert_eq!(upgrade(page), expected);
    }
    for page in [
        "<style>a{content:\"url(http://h/)\"}</style>",
        "<style>a{content:'\\'url(http://h/)'}</style>",
        "<style>@namespace \"http://h/\";</style>",
        "<style>a{b:u\\72l(http://h/)}</style>",
        "<style>@document url(http://h/){}</style>",
        "<svg><style></style><text>@import \"http://h/\";</text></svg>",
    ] {
        assert_eq!(upgrade(page), page);
    }
}

#[test]
fn the_first_of_two_attributes_and_any_word_of_rel() {
    for page in [
        "<img src=http://h/ SRC=http://n/>",
        "<link rel='icon next' href=http://h/>",
        "<link href=http://h/ rel='x icon y'>",
    ] {
        assert_eq!(upgrade(page), page.replace("http://h", "https://h"));
    }
}

#[test]
fn image_set_goes_on_behind_a_quoted_url() {
    let page = "<style>a{b:image-set(url(\"http://h/1\") 1x, \"http://h/2\" 2x)}</style>";
    assert_eq!(upgrade(page), page.replace("http:", "https:"));
}

#[test]
fn nul_before_a_scheme_is_a_character_of_a_path() {
    for page in
        ["<img src=\"\0http://h/\">", "<img srcset='\0http://h/ 1x'>", "<style>a{b:url(\0http://h/)}</style>"]
    {
        assert_eq!(upgrade(page), page);
    }
    let page = "<img src='&#1; http://h/\t\n'>";
    assert_eq!(upgrade(page), page.replace("http:", "https:"));
}

#[test]
fn brackets_by_name_are_brackets_in_css() {
    let page = "<p style='@namespace a &lbrace;b:url(http://h/)&rcub;/&ast; url(http://n/) &midast;/'>";
    assert_eq!(upgrade(page), page.replace("http://h", "https://h"));
}

#[test]
fn svg_in_math_is_svg_only_in_an_annotation() {
    let math = "<math><svg><title><image href='http://h/'/></title></svg></math>";
    assert_eq!(upgrade(math), math);
    let annotated =
        math.replace("<svg>", "<annotation-xml><svg>").replace("<title>", "").replace("</title>", "");
    assert_eq!(upgrade(&annotated), annotated.replace("http:", "https:"));
    let behind =
        "<math><annotation-xml><mi></mi><svg><image href='http://h/'/></svg></annotation-xml></math>";
    assert_eq!(upgrade(behind), behind.replace("http:", "https:"));
    let inside =
        "<math><annotation-xml><mrow><svg><image href='http://h/'/></svg></mrow></annotation-xml></math>";
    assert_eq!(upgrade(inside), inside);
}

#[test]
fn cdata_behind_html_in_the_title_of_an_svg() {
    let page = "<svg><title><b>x</b><![CDATA[ > <img src=http://h/> ]]></title></svg>";
    assert_eq!(upgrade(page), page);
    let page = "<svg><title><b><![CDATA[ > <img src=http://h/> ]]></b></title></svg>";
    assert_eq!(upgrade(page), page.replace("http:", "https:"));
}

#[test]
fn title_in_the_title_of_an_svg() {
    let page = "<svg><title><title><img src=http://n/></title></title><image href=http://h/ /></svg>";
    assert_eq!(upgrade(page), page.replace("http://h", "https://h"));
}

#[test]
fn less_than_in_a_host_of_css_in_svg() {
    let page = "<svg><style>a{b:url(http://a<3b/)}</style></svg>";
    assert_eq!(upgrade(page), page);
}

#[test]
fn math_in_svg_ends_itself() {
    let page =
        "<math><mi><svg><math></math><image href=http://h/ /></svg></mi></math><title><img src=http://n/>";
    assert_eq!(upgrade(page), page.replace("http://h", "https://h"));
}

#[test]
fn a_cell_ends_the_svg_that_it_holds() {
    let page = "<table><td><svg></td><td><title><img src=http://h/></title>";
    assert_eq!(upgrade(page), page);
}

#[test]
fn base_behind_one_that_is_not_in_the_page() {
    let page = "<template><base href=http://x/></template><base href=http://h/>";
    let upgrader = Upgrader::new(UpgradePolicy::new()).own_host(HostPort::parse(b"h").unwrap());
    let out = in_pieces(upgrader, [page.as_bytes()], 0);
    assert_eq!(String::from_utf8(out).unwrap(), page.replace("http://h", "https://h"));
}

#[test]
fn foreign_content_ends_where_browsers_end_it() {
    for (page, expected) in [
        ("<svg><div><title><img src=http://h/>", "<svg><div><title><img src=http://h/>"),
        ("<svg><font><title><img src=http://h/>", "<svg><font><title><img src=https://h/>"),
        ("<svg><font size=1><title><img src=http://h/>", "<svg><font size=1><title><img src=http://h/>"),
        ("<div><svg></div><title><img src=http://h/>", "<div><svg></div><title><img src=http://h/>"),
        ("<svg><desc></svg><title><img src=http://h/>", "<svg><desc></svg><title><img src=http://h/>"),
        ("<svg/><title><img src=http://h/>", "<svg/><title><img src=http://h/>"),
        ("<math><mi><title><img src=http://h/>", "<math><mi><title><img src=http://h/>"),
        ("<math><title><img src=http://h/>", "<math><title><img src=https://h/>"),
        (
            "<math><annotation-xml encoding=Text/HTML><title><img src=http://h/>",
            "<math><annotation-xml encoding=Text/HTML><title><img src=http://h/>",
        ),
        ("<svg><![CDATA[ > <img src=http://h/> ]]>", "<svg><![CDATA[ > <img src=http://h/> ]]>"),
        (
            "<noscript><svg></noscript><title><img src=http://h/>",
            "<noscript><svg></noscript><title><img src=http://h/>",
        ),
    ] {
        assert_eq!(upgrade(page), expected);
    }
}

#[test]
fn noscript_ends_in_any_state() {
    for inside in
        ["<!--", "<img alt=\"", "<style>", "<script><!--<script>", "<p title='</noscripts>", "<a </"]
    {
        let page = format!("<noscript>{inside}</NOSCRIPT\n><img src=http://h/>");
        assert_eq!(upgrade(&page), page.replace("http:", "https:"), "{page}");
    }
}

#[test]
fn opted_in() {
    let all = Targets::META_REFRESH | Targets::DATA_ATTRIBUTES;
    let policy = UpgradePolicy::new().targets(all);
    for (page, expected) in [
        (
            "<meta http-equiv=refresh content=\"5; URL='http://h/'\">",
            "<meta http-equiv=refresh content=\"5; URL='https://h/'\">",
        ),
        (
            "<meta content=\"0;http://h:80\" http-equiv=Refresh>",
            "<meta content=\"0;https://h\" http-equiv=Refresh>",
        ),
        ("<meta content=\"0;http://h/\">", "<meta content=\"0;http://h/\">"),
        ("<meta http-equiv=x content=\"0;http://h/\">", "<meta http-equiv=x content=\"0;http://h/\">"),
        ("<p data-lazy-source-of-the-image=http://h/>", "<p data-lazy-source-of-the-image=https://h/>"),
        ("<p data-srcset='http://h/ 1x, http://i/'>", "<p data-srcset='https://h/ 1x, https://i/'>"),
    ] {
        assert_eq!(upgrade_fragment(page, &policy), expected);
    }
    assert_eq!(upgrade("<p data-src=http://h/>"), "<p data-src=http://h/>");
}

#[test]
fn own_host() {
    let page = "<base href=http://h:8443/><img src=http://i/>";
    let out = |policy, own: &[u8]| {
        let upgrader = Upgrader::new(Arc::new(policy)).own_host(HostPort::parse(own).unwrap());
        String::from_utf8(in_pieces(upgrader, [page.as_bytes()], 0)).unwrap()
    };
    assert_eq!(out(UpgradePolicy::new(), b"h"), "<base href=http://h:8443/><img src=https://i/>");
    assert_eq!(out(UpgradePolicy::new(), b"H:8443"), page.replace("http:", "https:"));
    assert_eq!(out(UpgradePolicy::new().hosts(Hosts::same()), b"i"), page.replace("http://i", "https://i"));
}

#[test]
fn xhtml_has_no_raw_text() {
    let page = concat!(
        "<?xml version='1.0'?><!DOCTYPE html [<!ENTITY a '>'>]>",
        "<script src='http://h/'/><title><img src='http://h/'/></title><?x <img src='http://n/'> ?>",
        "<style><![CDATA[@import 'http://h/';]]></style><!-->--><img src='http://h/'/>",
    );
    let out = in_pieces(Upgrader::xhtml(Arc::new(UpgradePolicy::new())), [page.as_bytes()], 0);
    assert_eq!(String::from_utf8(out).unwrap(), page.replace("http://h", "https://h"));
}

#[test]
fn reports() {
    use std::cell::RefCell;
    thread_local!(static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });
    let policy = UpgradePolicy::new().report_only().on_rewrite(|rewrite| {
        let text = format!("{} {} {} {}", rewrite.element, rewrite.attribute, rewrite.host, rewrite.offset);
        SEEN.with_borrow_mut(|seen| seen.push(text));
    });
    let page =
        "<link href=http://H/ rel=icon><style>@import 'http://i:80';</style><img src=http://localhost>";
    assert!(matches!(upgrade_fragment(page, &policy), Cow::Borrowed(_)));
    SEEN.with_borrow(|seen| assert_eq!(*seen, ["link href h 11", "style  i 46"]));
    // Nothing waits where nothing changes.
    let mut upgrader = Upgrader::new(Arc::new(policy));
    assert_eq!(upgrader.push(Bytes::from_static(b"<img src=htt")), "<img src=htt");
}

#[test]
fn the_longest_relations() {
    for relation in FETCHED_RELATIONS {
        let relation = std::str::from_utf8(relation).unwrap();
        let page = format!("<link href=http://h/ rel={relation}><link rel='x {relation}' href=http://h/>");
        assert_eq!(upgrade(&page), page.replace("http:", "https:"));
    }
}

#[test]
fn an_at_keyword_with_an_escape_may_be_namespace() {
    for page in [
        "<style>@n\\61mespace url(http://n/);</style>",
        "<style>@\\6eamespace a \"http://n/\";</style>",
        "<style>@nam\\espace url(\"http://n/\");</style>",
    ] {
        assert_eq!(upgrade(page), page);
    }
    let page = "<style>@n\\61mespace url(http://n/); a{b:url(http://h/)}</style>";
    assert_eq!(upgrade(page), page.replace("http://h", "https://h"));
}

#[test]
fn no_font_ends_the_svg_of_xhtml() {
    let page = "<svg><font size='1'/><image href='http://h/'/></svg>";
    let out = in_pieces(Upgrader::xhtml(UpgradePolicy::new()), [page.as_bytes()], 0);
    assert_eq!(String::from_utf8(out).unwrap(), page.replace("http:", "https:"));
}

#[test]
fn what_is_not_found() {
    for page in [
        "<svg><g filter='url(http://h/#f)' mask=\"url('http://h/')\"/></svg>",
        "<iframe srcdoc='<img src=http://h/>'>",
    ] {
        assert_eq!(upgrade(page), page);
    }
    let page = "<svg:svg><svg:image href='http://h/'/></svg:svg>";
    assert_eq!(in_pieces(Upgrader::xhtml(UpgradePolicy::new()), [page.as_bytes()], 0), page.as_bytes());
}

#[test]
fn a_comma_inside_the_url_of_a_candidate_does_not_end_it() {
    for url in ["http://a,b", "http:///a,b", "http://a,bcd"] {
        let page = format!("<img srcset=\"{url} (, http://h.example/ )\">");
        assert_eq!(upgrade(&page), page);
    }
    let ends = "<img srcset=\"http://a, http://h.example/\">";
    assert_eq!(upgrade(ends), ends.replace("http:", "https:"));
}
