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
