use super::*;

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
fn no_font_ends_the_svg_of_xhtml() {
    let page = "<svg><font size='1'/><image href='http://h/'/></svg>";
    let out = in_pieces(Upgrader::xhtml(UpgradePolicy::new()), [page.as_bytes()], 0);
    assert_eq!(String::from_utf8(out).unwrap(), page.replace("http:", "https:"));
}

/// Whether SVG goes on behind it: there a `title` holds markup.
fn ends_in_svg(page: &str) -> bool {
    let page = [page, "<title><img src=http://h/>"].concat();
    upgrade(&page) != page
}

#[test]
fn end_tags_in_foreign_content() {
    for page in [
        "<svg></path>",
        "<svg></font-face>",
        "<svg><g></x></g>",
        "<svg><g><path><path></g>",
        "<svg><math></math>",
        "<svg></body></html>",
        "<svg><desc></p></br></desc>",
        "<svg><desc></div></b></h1></x-y></desc>",
        "<svg><desc><svg><g></desc>",
        "<math><mi><svg></g>",
        "<math><annotation-xml encoding=text/html><svg>",
        "<math><annotation-xml><svg>",
    ] {
        assert!(ends_in_svg(page), "{page}");
    }
    for page in [
        "<svg></div>",
        "<svg></p>",
        "<svg></x-y>",
        "<svg><g></svg>",
        "<svg><desc></svg>",
        "<svg><desc></td>",
        "<svg><desc></template>",
        "<svg><desc><div></desc>",
        "<svg><foreignObject><span></svg>",
    ] {
        assert!(!ends_in_svg(page), "{page}");
    }
}

#[test]
fn html_ends_the_svg_in_an_annotation_and_not_the_annotation() {
    for tag in ["<svg><p></p>", "</p>"] {
        let page = format!(
            "<math><annotation-xml encoding=text/html>{tag}</annotation-xml><svg><image href=http://h/></svg>"
        );
        assert_eq!(upgrade(&page), page);
    }
}

#[test]
fn html_in_svg_closes_what_it_closes_elsewhere() {
    for inside in [
        "<p>a</p>",
        "<p><p></p>",
        "<p><div></div>",
        "<p><table></table>",
        "<span><i></span>",
        "<b><p></b></p>",
        "<a><a></a>",
        "<nobr><nobr></nobr>",
        "<ul><li><li></ul>",
        "<dl><dt><dd></dl>",
        "<h1><h2></h3>",
        "<button><button></button>",
        "<select><option><optgroup><input>",
        "<select><select>",
        "<ruby><rb><rt></ruby>",
        "<object><b></object>",
        "<form><div></form></div>",
        "<br><img><hr><input><wbr><embed><image>",
        "<table><tr><td><p><th></table>",
        "<table><caption><b></table>",
        "<table><col></table>",
        "<table><td></tr></tbody></table>",
        "<table><table></table>",
        "<template><td></td></template>",
        "<template><col><div></template>",
        "<template><col><title></template>",
        "<template><div></template>",
        "<div><template></div></template></div>",
        "</p></br></x>",
    ] {
        assert!(ends_in_svg(&format!("<svg><desc>{inside}</desc>")), "{inside}");
        assert!(!ends_in_svg(&format!("<svg><desc>{inside}<div></desc>")), "{inside}");
    }
}

#[test]
fn formatting_that_a_paragraph_closed_opens_again() {
    for (again, is_open) in [
        ("", false),
        ("x", true),
        (" ", true),
        ("<br>", true),
        ("<span></span>", true),
        ("<div></div>", false),
        ("<title>x</title>", false),
        ("<style>x</style>", false),
        ("<!-- x -->", false),
        ("<table> </table>", false),
        ("<table>x</table>", false),
        ("</b>x", false),
        ("<object></object>", true),
    ] {
        let page = format!("<svg><desc><p><b></p>{again}</desc>");
        assert_eq!(!ends_in_svg(&page), is_open, "{page}");
    }
}

#[test]
fn the_adoption_agency_reaches_eight_blocks_far() {
    let page = |blocks: usize, text: &str| {
        let (open, close) = ("<div>".repeat(blocks), "</div>".repeat(blocks));
        format!("<svg><desc><b>{open}</b>{close}{text}</desc>")
    };
    for blocks in 1..20 {
        assert!(ends_in_svg(&page(blocks, "")), "{blocks}");
        // Beyond, it is closed with the eighth block, and opened again by text.
        assert_eq!(ends_in_svg(&page(blocks, "x")), blocks < 8, "{blocks}");
    }
    for (page, is_closed) in [
        ("<b><i><div></b></i></div>", true),
        // The three nearest to the block stay, and no more.
        ("<b><i><u><s><em><div></b></div></em></s>", false),
        ("<b><i><u><s><em><div></b></div></em></s></u>", true),
        ("<b><b><b><b></b></b></b></b>", true),
        ("<b><b><b><b></b></b></b>", false),
        ("<a><div><a></div></a>", true),
        ("<a><svg><desc><a></a></desc></svg></a>", true),
    ] {
        assert_eq!(ends_in_svg(&format!("<svg><desc>{page}</desc>")), is_closed, "{page}");
    }
}

#[test]
fn a_table_around_an_svg_is_taken_for_granted() {
    for tag in ["<td>", "<tr>", "<caption>", "</td>", "</table>", "</caption>"] {
        assert!(!ends_in_svg(&format!("<svg><desc>{tag}</desc>")), "{tag}");
        let end = if tag == "</table>" { "" } else { "</table>" };
        assert!(ends_in_svg(&format!("<svg><desc><table>{tag}{end}</desc>")), "{tag}");
    }
    assert!(!ends_in_svg("<svg><desc><td></desc><svg></svg>"));
}

#[test]
fn foreign_content_is_followed_to_its_bound() {
    let image = "<image href=http://h/ />";
    let nested = |groups: usize| {
        ["<svg>", &"<g>".repeat(groups), image, &"</g>".repeat(groups), "</svg><img src=http://h/>"].concat()
    };
    assert_eq!(upgrade(&nested(511)), nested(511).replace("http:", "https:"));
    assert_eq!(upgrade(&nested(512)), nested(512));
    let closed = ["<svg>", &"<path/>".repeat(1024), "</svg><img src=http://h/>"].concat();
    assert_eq!(upgrade(&closed), closed.replace("http:", "https:"));
    let before = ["<img src=http://h/><svg>", &"<g>".repeat(512), "<image href=http://n/ />"].concat();
    assert_eq!(upgrade(&before), before.replace("http://h", "https://h"));
    let xhtml = nested(512);
    assert_eq!(in_pieces(Upgrader::xhtml(UpgradePolicy::new()), [xhtml.as_bytes()], 0), xhtml.as_bytes());
}

#[test]
fn what_is_too_deep_in_a_noscript_is_so_to_its_end() {
    let page =
        ["<noscript><svg>", &"<g>".repeat(512), "<image href=http://n/ /></noscript><img src=http://h/>"]
            .concat();
    assert_eq!(upgrade(&page), page.replace("http://h", "https://h"));
}

/// Each cell leaves a marker in the list of formatting elements.
#[test]
fn what_no_end_tag_takes_off_the_list_is_bounded() {
    let page =
        ["<svg><desc><table>", &"<td><object>".repeat(1000), "</table></desc><image href=http://h/ />"]
            .concat();
    assert_eq!(upgrade(&page), page);
}
