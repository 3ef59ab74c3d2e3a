use proptest::prelude::*;

use super::*;
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
            let mut skim = Skim::new(syntax, policy.targets, from_scheme(page), 0);
            let mut knows_no_host = Rewriter::new(syntax, None);
            let mut engine = Engine::new(syntax, None);
            let mut rest = page;
            while !rest.is_empty() {
                let is_plain = engine.tokenizer.is_between_tags() && engine.rewriter.is_in_plain_html();
                let passed = if is_plain { skim.pass(rest, &mut knows_no_host.known_host(policy)) } else { 0 };
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
