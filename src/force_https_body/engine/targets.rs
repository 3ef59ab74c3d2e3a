//! Which attributes hold URLs that a page fetches.

use super::name::Name;
use super::namespaces::Namespace;
use crate::force_https_body::policy::Targets;

/// What an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Url,
    Srcset,
    Css,
    /// `content` of `meta`: seconds, and then a URL.
    Refresh,
    /// `rel` of `link`: decides on the URLs of the tag.
    Rel,
    /// `http-equiv` of `meta`: decides on the URL of the tag.
    HttpEquiv,
    /// `encoding` of `annotation-xml`.
    Encoding,
    /// `color`, `face` and `size` of `font`.
    FontStyle,
}

/// On what it depends whether a URL may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// The host is the one that the request asked for.
    OwnHost,
    /// Another attribute of the tag says so, before or after.
    TagSaysSo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) when: When,
}

/// One bit for each name of the table: of two attributes of one name the first counts.
pub(super) fn bit(attribute: &[u8]) -> u32 {
    const NAMES: &[&[u8]] = &[
        b"src",
        b"href",
        b"style",
        b"srcset",
        b"rel",
        b"xlink:href",
        b"imagesrcset",
        b"poster",
        b"data",
        b"background",
        b"action",
        b"formaction",
        b"content",
        b"http-equiv",
        b"encoding",
    ];
    NAMES
        .iter()
        .position(|name| *name == attribute)
        .and_then(|index| 1_u32.checked_shl(u32::try_from(index).ok()?))
        .unwrap_or(0)
}

/// What browsers fetch for a `link` (HTML Standard, section 4.6.7, and what vendors add).
pub(in crate::force_https_body) const FETCHED_RELATIONS: &[&[u8]] = &[
    b"stylesheet",
    b"icon",
    b"apple-touch-icon",
    b"apple-touch-icon-precomposed",
    b"apple-touch-startup-image",
    b"compression-dictionary",
    b"dns-prefetch",
    b"manifest",
    b"mask-icon",
    b"modulepreload",
    b"preconnect",
    b"prefetch",
    b"preload",
    b"prerender",
];

/// Whether there may be a [`target`] for an attribute, by what tells it from most others, in any case of letters.
pub(super) fn may_be_target(attribute: &[u8]) -> bool {
    let (Some(first), Some(last)) = (attribute.first(), attribute.last()) else { return false };
    match (attribute.len(), first | 0x20) {
        (3, b's' | b'r') | (4, b'h' | b'f' | b's') | (5, b's') | (6, b's' | b'p' | b'a') => true,
        // Not `class`.
        (5, b'c') => last | 0x20 == b'r',
        (7, b'c') | (8, b'e') | (10, b'b' | b'f' | b'h' | b'x') | (11, b'i') | (4.., b'd') => true,
        _ => false,
    }
}

pub(super) fn target(namespace: Namespace, element: &[u8], name: &Name, targets: Targets) -> Option<Target> {
    let attribute = name.as_bytes();
    let always = |kind| Some(Target { kind, when: When::Always });
    if attribute == b"style" {
        return always(Kind::Css);
    }
    if name.starts_with(b"data-") {
        return targets.contains(Targets::DATA_ATTRIBUTES).then_some(Target {
            kind: if name.ends_with(b"srcset") { Kind::Srcset } else { Kind::Url },
            when: When::Always,
        });
    }
    match namespace {
        Namespace::MathMl if element == b"annotation-xml" && attribute == b"encoding" => {
            always(Kind::Encoding)
        }
        Namespace::MathMl | Namespace::Svg if element == b"font" => {
            matches!(attribute, b"color" | b"face" | b"size")
                .then_some(Target { kind: Kind::FontStyle, when: When::Always })
        }
        Namespace::MathMl => None,
        Namespace::Svg => match (element, attribute) {
            (b"image" | b"feimage" | b"use" | b"script", b"href" | b"xlink:href") => always(Kind::Url),
            _ => None,
        },
        Namespace::Html => html_target(element, attribute, targets),
    }
}

fn html_target(element: &[u8], attribute: &[u8], targets: Targets) -> Option<Target> {
    let url = |when| Some(Target { kind: Kind::Url, when });
    let of_link = if targets.contains(Targets::LINK_ANY_REL) { When::Always } else { When::TagSaysSo };
    match (element, attribute) {
        (b"img" | b"image" | b"source", b"srcset") => Some(Target { kind: Kind::Srcset, when: When::Always }),
        (b"img" | b"image" | b"script" | b"iframe" | b"frame" | b"embed" | b"input", b"src") => {
            url(When::Always)
        }
        (b"source" | b"video" | b"audio" | b"track", b"src") => url(When::Always),
        (b"video", b"poster") | (b"object", b"data") => url(When::Always),
        (b"body" | b"table" | b"thead" | b"tbody" | b"tfoot" | b"tr" | b"td" | b"th", b"background") => {
            url(When::Always)
        }
        (b"link", b"href") => url(of_link),
        (b"link", b"imagesrcset") => Some(Target { kind: Kind::Srcset, when: of_link }),
        (b"link", b"rel") => Some(Target { kind: Kind::Rel, when: When::Always }),
        (b"base", b"href") => url(When::OwnHost),
        (b"form", b"action") | (b"button" | b"input", b"formaction")
            if targets.contains(Targets::FORM_ACTION) =>
        {
            url(When::Always)
        }
        (b"meta", b"content") if targets.contains(Targets::META_REFRESH) => {
            Some(Target { kind: Kind::Refresh, when: When::TagSaysSo })
        }
        (b"meta", b"http-equiv") if targets.contains(Targets::META_REFRESH) => {
            Some(Target { kind: Kind::HttpEquiv, when: When::Always })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_may_be_no_target_is_none(
            element in "img|image|source|video|object|td|link|base|form|button|meta|annotation-xml|font|use|script|p",
            attribute in "(?i)src|href|style|srcset|rel|xlink:href|imagesrcset|poster|data|background|action|formaction\
                |content|http-equiv|encoding|color|face|size|data-[a-z]{0,30}|[a-z]{1,11}",
        ) {
            let all = Targets::FORM_ACTION | Targets::LINK_ANY_REL | Targets::META_REFRESH | Targets::DATA_ATTRIBUTES;
            let name = Name::of(attribute.as_bytes());
            for namespace in [Namespace::Html, Namespace::Svg, Namespace::MathMl] {
                if target(namespace, element.as_bytes(), &name, all).is_some() {
                    prop_assert!(may_be_target(attribute.as_bytes()));
                }
            }
        }
    }
}
