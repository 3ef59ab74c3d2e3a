//! What the names of HTML's elements say of what they hold, and of where they end.

use super::name::Name;
use super::namespaces::Namespace;
use super::tokenizer::Content;

/// The sets that an open element belongs to (HTML Standard, sections 13.2.4.2 and 13.2.6.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits(u16);

impl Traits {
    pub(super) const FOREIGN: Self = Self(1);
    pub(super) const SVG: Self = Self(1 << 1);
    /// HTML starts in it, though itself it is not.
    pub(super) const INTEGRATION_POINT: Self = Self(1 << 2);
    pub(super) const MATH_TEXT: Self = Self(1 << 3);
    pub(super) const ANNOTATION: Self = Self(1 << 4);
    pub(super) const SPECIAL: Self = Self(1 << 5);
    pub(super) const SCOPE: Self = Self(1 << 6);
    pub(super) const LIST_SCOPE: Self = Self(1 << 7);
    pub(super) const BUTTON_SCOPE: Self = Self(1 << 8);
    pub(super) const TABLE_SCOPE: Self = Self(1 << 9);
    /// An item of a list does not end one that is around it.
    pub(super) const ITEM_SCOPE: Self = Self(1 << 10);
    /// It decides on the insertion mode.
    pub(super) const MODE: Self = Self(1 << 11);
    pub(super) const IMPLIED_END: Self = Self(1 << 12);
    pub(super) const HEADING: Self = Self(1 << 13);
    /// It is in the list of active formatting elements.
    pub(super) const LISTED: Self = Self(1 << 14);
    /// The form element pointer is at it.
    pub(super) const FORM: Self = Self(1 << 15);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn has_any_of(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn of_html(name: &Name) -> Self {
        const ALL: Traits = Traits::SPECIAL.and(Traits::ITEM_SCOPE);
        const MARKER: Traits = ALL.and(Traits::SCOPE);
        match name.as_bytes() {
            b"table" | b"template" => MARKER.and(Self::TABLE_SCOPE).and(Self::MODE),
            b"caption" | b"td" | b"th" => MARKER.and(Self::MODE),
            b"applet" | b"marquee" | b"object" | b"select" => MARKER,
            b"colgroup" | b"tbody" | b"tfoot" | b"thead" | b"tr" => ALL.and(Self::MODE),
            b"button" => ALL.and(Self::BUTTON_SCOPE),
            b"ol" | b"ul" => ALL.and(Self::LIST_SCOPE),
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => ALL.and(Self::HEADING),
            b"dd" | b"dt" | b"li" => ALL.and(Self::IMPLIED_END),
            b"p" => Self::SPECIAL.and(Self::IMPLIED_END),
            b"address" | b"div" => Self::SPECIAL,
            b"optgroup" | b"option" | b"rb" | b"rp" | b"rt" | b"rtc" => Self::IMPLIED_END,
            b"dialog" => Self::default(),
            b"form" | b"noscript" | b"plaintext" => ALL,
            _ if is_block(name) => ALL,
            _ => Self::default(),
        }
    }

    pub(super) fn of_foreign(name: &Name, namespace: Namespace, is_html_annotation: bool) -> Self {
        const MARKER: Traits = Traits::SPECIAL.and(Traits::ITEM_SCOPE).and(Traits::SCOPE);
        match (namespace, name.as_bytes()) {
            (Namespace::Html, _) => Self::default(),
            (Namespace::Svg, b"foreignobject" | b"desc" | b"title") => MARKER.and(Self::INTEGRATION_POINT),
            (Namespace::Svg, _) => Self::SVG,
            (Namespace::MathMl, b"mi" | b"mo" | b"mn" | b"ms" | b"mtext") => {
                MARKER.and(Self::INTEGRATION_POINT).and(Self::MATH_TEXT)
            }
            (Namespace::MathMl, b"annotation-xml") if is_html_annotation => {
                MARKER.and(Self::ANNOTATION).and(Self::INTEGRATION_POINT)
            }
            (Namespace::MathMl, b"annotation-xml") => MARKER.and(Self::ANNOTATION),
            (Namespace::MathMl, _) => Self::default(),
        }
        .and(if namespace == Namespace::Html { Self::default() } else { Self::FOREIGN })
    }
}

pub(super) fn content_of(name: &Name) -> Content {
    match name.as_bytes() {
        b"title" | b"textarea" | b"style" | b"xmp" | b"iframe" | b"noembed" | b"noframes" => Content::Text,
        b"script" => Content::Script,
        b"plaintext" => Content::Plaintext,
        b"noscript" => Content::Noscript,
        _ => Content::Markup,
    }
}

/// Their start tags end a paragraph; their end tags end what is open in them.
pub(super) fn is_block(name: &Name) -> bool {
    matches!(
        name.as_bytes(),
        b"address"
            | b"article"
            | b"aside"
            | b"blockquote"
            | b"center"
            | b"details"
            | b"dialog"
            | b"dir"
            | b"div"
            | b"dl"
            | b"fieldset"
            | b"figcaption"
            | b"figure"
            | b"footer"
            | b"header"
            | b"hgroup"
            | b"listing"
            | b"main"
            | b"menu"
            | b"nav"
            | b"ol"
            | b"pre"
            | b"search"
            | b"section"
            | b"summary"
            | b"ul"
    )
}

pub(super) fn is_formatting(name: &Name) -> bool {
    matches!(
        name.as_bytes(),
        b"a" | b"b"
            | b"big"
            | b"code"
            | b"em"
            | b"font"
            | b"i"
            | b"nobr"
            | b"s"
            | b"small"
            | b"strike"
            | b"strong"
            | b"tt"
            | b"u"
    )
}

/// Start tags that stand only in a table.
pub(super) fn is_of_table(name: &Name) -> bool {
    matches!(
        name.as_bytes(),
        b"caption" | b"col" | b"colgroup" | b"tbody" | b"td" | b"tfoot" | b"th" | b"thead" | b"tr"
    )
}

/// Whether an end tag with nothing to close in foreign content is taken for that of an element around it. Names of SVG
/// are not: what is closed twice is common there.
pub(super) fn may_be_around(name: &Name) -> bool {
    is_block(name)
        || is_formatting(name)
        || is_of_table(name)
        || name.as_bytes().contains(&b'-')
        || matches!(
            name.as_bytes(),
            b"abbr"
                | b"applet"
                | b"button"
                | b"cite"
                | b"dd"
                | b"del"
                | b"dt"
                | b"h1"
                | b"h2"
                | b"h3"
                | b"h4"
                | b"h5"
                | b"h6"
                | b"ins"
                | b"kbd"
                | b"label"
                | b"li"
                | b"mark"
                | b"marquee"
                | b"noscript"
                | b"object"
                | b"output"
                | b"picture"
                | b"q"
                | b"ruby"
                | b"samp"
                | b"select"
                | b"span"
                | b"sub"
                | b"sup"
                | b"table"
                | b"template"
                | b"time"
                | b"var"
        )
}

/// Start tags that end foreign content.
pub(super) fn breaks_out(name: &Name) -> bool {
    matches!(
        name.as_bytes(),
        b"b" | b"big"
            | b"blockquote"
            | b"body"
            | b"br"
            | b"center"
            | b"code"
            | b"dd"
            | b"div"
            | b"dl"
            | b"dt"
            | b"em"
            | b"embed"
            | b"h1"
            | b"h2"
            | b"h3"
            | b"h4"
            | b"h5"
            | b"h6"
            | b"head"
            | b"hr"
            | b"i"
            | b"img"
            | b"li"
            | b"listing"
            | b"menu"
            | b"meta"
            | b"nobr"
            | b"ol"
            | b"p"
            | b"pre"
            | b"ruby"
            | b"s"
            | b"small"
            | b"span"
            | b"strong"
            | b"strike"
            | b"sub"
            | b"sup"
            | b"table"
            | b"tt"
            | b"u"
            | b"ul"
            | b"var"
    )
}
