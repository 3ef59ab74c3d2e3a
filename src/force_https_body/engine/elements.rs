//! What the names of HTML's elements say of what they hold, and of where they end.

use super::keys::*;
use super::name::Name;
use super::namespaces::Namespace;
use super::open_elements::Key;
use super::tokenizer::Content;

/// The sets that an open element belongs to (HTML Standard, sections 13.2.4.2 and 13.2.6.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits(u16);

impl Traits {
    pub(super) const HTML: Self = Self(1);
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
    pub(super) const FORMATTING: Self = Self::HTML.and(Self::LISTED);
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

    pub(super) fn of_html(key: Key) -> Self {
        const ALL: Traits = Traits::HTML.and(Traits::SPECIAL).and(Traits::ITEM_SCOPE);
        const MARKER: Traits = ALL.and(Traits::SCOPE);
        match key {
            TABLE | TEMPLATE => MARKER.and(Self::TABLE_SCOPE).and(Self::MODE),
            CAPTION | TD | TH => MARKER.and(Self::MODE),
            APPLET | MARQUEE | OBJECT | SELECT => MARKER,
            COLGROUP | TBODY | TFOOT | THEAD | TR => ALL.and(Self::MODE),
            BUTTON => ALL.and(Self::BUTTON_SCOPE),
            OL | UL => ALL.and(Self::LIST_SCOPE),
            H1 | H2 | H3 | H4 | H5 | H6 => ALL.and(Self::HEADING),
            DD | DT | LI => ALL.and(Self::IMPLIED_END),
            P => Self::HTML.and(Self::SPECIAL).and(Self::IMPLIED_END),
            ADDRESS | DIV => Self::HTML.and(Self::SPECIAL),
            OPTGROUP | OPTION | RB | RP | RT | RTC => Self::HTML.and(Self::IMPLIED_END),
            DIALOG => Self::HTML,
            FORM | NOSCRIPT | PLAINTEXT => ALL,
            _ if is_block(key) => ALL,
            _ => Self::HTML,
        }
    }

    pub(super) fn of_foreign(name: &Name, namespace: Namespace, is_html_annotation: bool) -> Self {
        const MARKER: Traits = Traits::SPECIAL.and(Traits::ITEM_SCOPE).and(Traits::SCOPE);
        match (namespace, name.as_bytes()) {
            (Namespace::Html, _) => Self::HTML,
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
pub(super) fn is_block(key: Key) -> bool {
    matches!(
        key,
        ADDRESS
            | ARTICLE
            | ASIDE
            | BLOCKQUOTE
            | CENTER
            | DETAILS
            | DIALOG
            | DIR
            | DIV
            | DL
            | FIELDSET
            | FIGCAPTION
            | FIGURE
            | FOOTER
            | HEADER
            | HGROUP
            | LISTING
            | MAIN
            | MENU
            | NAV
            | OL
            | PRE
            | SEARCH
            | SECTION
            | SUMMARY
            | UL
    )
}

pub(super) fn is_formatting(key: Key) -> bool {
    matches!(key, A | B | BIG | CODE | EM | FONT | I | NOBR | S | SMALL | STRIKE | STRONG | TT | U)
}

/// Start tags that stand only in a table.
pub(super) fn is_of_table(key: Key) -> bool {
    matches!(key, CAPTION | COL | COLGROUP | TBODY | TD | TFOOT | TH | THEAD | TR)
}

/// Whether an end tag with nothing to close in foreign content is taken for that of an element around it. Names of SVG
/// are not: what is closed twice is common there.
pub(super) fn may_be_around(name: &Name) -> bool {
    let key = Key::of_html(name);
    is_custom(name)
        || is_block(key)
        || is_formatting(key)
        || is_of_table(key)
        || matches!(
            key,
            ABBR | APPLET
                | BUTTON
                | CITE
                | DD
                | DEL
                | DT
                | H1
                | H2
                | H3
                | H4
                | H5
                | H6
                | INS
                | KBD
                | LABEL
                | LI
                | MARK
                | MARQUEE
                | NOSCRIPT
                | OBJECT
                | OUTPUT
                | PICTURE
                | Q
                | RUBY
                | SAMP
                | SELECT
                | SPAN
                | SUB
                | SUP
                | TABLE
                | TEMPLATE
                | TIME
                | VAR
        )
}

/// Whether it is the name of a custom element. Some with a dash are of SVG and MathML.
fn is_custom(name: &Name) -> bool {
    let name = name.as_bytes();
    let is_reserved = name.starts_with(b"font-face")
        || matches!(name, b"annotation-xml" | b"color-profile" | b"missing-glyph");
    name.contains(&b'-') && !is_reserved
}

/// Start tags that end foreign content.
pub(super) fn breaks_out(key: Key) -> bool {
    matches!(
        key,
        B | BIG
            | BLOCKQUOTE
            | BODY
            | BR
            | CENTER
            | CODE
            | DD
            | DIV
            | DL
            | DT
            | EM
            | EMBED
            | H1
            | H2
            | H3
            | H4
            | H5
            | H6
            | HEAD
            | HR
            | I
            | IMG
            | LI
            | LISTING
            | MENU
            | META
            | NOBR
            | OL
            | P
            | PRE
            | RUBY
            | S
            | SMALL
            | SPAN
            | STRONG
            | STRIKE
            | SUB
            | SUP
            | TABLE
            | TT
            | U
            | UL
            | VAR
    )
}
