use super::*;

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
        "<style>a#url(http://h/){}</style>",
        "<style>#-a:b;c#image-set(\"http://h/\")</style>",
        "<svg><style></style><text>@import \"http://h/\";</text></svg>",
    ] {
        assert_eq!(upgrade(page), page);
    }
}

#[test]
fn image_set_goes_on_behind_a_quoted_url() {
    let page = "<style>a{b:image-set(url(\"http://h/1\") 1x, \"http://h/2\" 2x)}</style>";
    assert_eq!(upgrade(page), page.replace("http:", "https:"));
}

#[test]
fn brackets_by_name_are_brackets_in_css() {
    let page = "<p style='@namespace a &lbrace;b:url(http://h/)&rcub;/&ast; url(http://n/) &midast;/'>";
    assert_eq!(upgrade(page), page.replace("http://h", "https://h"));
}

#[test]
fn less_than_in_a_host_of_css_in_svg() {
    let page = "<svg><style>a{b:url(http://a<3b/)}</style></svg>";
    assert_eq!(upgrade(page), page);
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
