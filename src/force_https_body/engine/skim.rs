//! Passes over what means nothing to URLs, without a look at each token.

use memchr::memchr;

use super::elements::content_of;
use super::find::{find, find2};
use super::name::Name;
use super::namespaces::Namespace;
use super::scheme::from_scheme;
use super::targets::{may_be_target, target};
use super::tokenizer::{Content, Syntax, tag_name};
use crate::force_https_body::policy::Targets;

/// Skims one piece: all that it is given are ends of it.
#[derive(Debug)]
pub(super) struct Skim {
    syntax: Syntax,
    targets: Targets,
    /// How many bytes there are from the next scheme on. It is looked for again behind it.
    scheme: usize,
}

impl Skim {
    /// `scheme` tells how many bytes of the piece there are from its first scheme on.
    pub(super) fn new(syntax: Syntax, targets: Targets, scheme: usize) -> Self {
        Self { syntax, targets, scheme }
    }

    /// How many bytes, from between two tags on, are text and whole elements, tags and comments in which no URL
    /// changes, and behind which markup of HTML goes on.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while let Some(text) = find(b'<', rest) {
            rest = rest.get(text..).unwrap_or_default();
            match self.behind(rest) {
                Some(after) => rest = after,
                None => return bytes.len().saturating_sub(rest.len()),
            }
        }
        bytes.len()
    }

    /// What follows the tag, the comment or the element that `bytes` begin with. `None` for all that is not whole.
    fn behind<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let is_end_tag = bytes.get(1) == Some(&b'/');
        let named = bytes.get(usize::from(is_end_tag).saturating_add(1)..)?;
        let Some((name, rest)) = tag_name(named) else {
            let comment = bytes.strip_prefix(b"<!").filter(|_| self.syntax == Syntax::Html)?;
            return behind_comment(comment);
        };
        if is_end_tag {
            return match rest {
                [b'>', after @ ..] => Some(after),
                _ => Some(self.behind_attributes(None, rest)?.after),
            };
        }
        let may_be_special = may_be_special(name);
        if may_be_special && self.is_fetched_from_here(name, rest) {
            return None;
        }
        let end = self.behind_attributes(Some((Namespace::Html, name)), rest)?;
        if may_be_special { self.behind_special(&Name::of(name), end) } else { Some(end.after) }
    }

    /// Elements that mostly hold a URL are not worth a look before the one that counts, if there is a scheme so near.
    fn is_fetched_from_here(&mut self, name: &[u8], rest: &[u8]) -> bool {
        const NEAR: usize = 256;
        matches!(name, b"img" | b"link" | b"source")
            && self.has_scheme(rest, rest.get(NEAR..).unwrap_or_default())
    }

    fn behind_special<'a>(&mut self, name: &Name, tag: TagEnd<'a>) -> Option<&'a [u8]> {
        match content_of(name) {
            Content::Markup if !matches!(name.as_bytes(), b"svg" | b"math") => Some(tag.after),
            _ if self.syntax == Syntax::Xml => None,
            Content::Text | Content::Script => {
                let after = self.behind_text(tag.after, name)?;
                let may_change = name.is(b"style") && self.has_scheme(tag.after, after);
                (!may_change).then_some(after)
            }
            Content::Markup if name.is(b"math") => None,
            Content::Markup if tag.is_self_closing => Some(tag.after),
            Content::Markup => self.behind_drawing(tag.after, name.as_bytes(), MAX_GROUPS),
            Content::Plaintext | Content::Noscript => None,
        }
    }

    /// What follows an element of SVG of this name, if it holds only text and shapes.
    fn behind_drawing<'a>(&mut self, inside: &'a [u8], name: &[u8], groups: usize) -> Option<&'a [u8]> {
        let groups = groups.checked_sub(1)?;
        let mut rest = inside;
        loop {
            rest = rest.get(find(b'<', rest)?..)?;
            if let [b'<', b'!', comment @ ..] = rest {
                rest = behind_comment(comment)?;
                continue;
            }
            if let [b'<', b'/', rest @ ..] = rest {
                let (ended, rest) = tag_name(rest)?;
                let end = self.behind_attributes(None, rest)?;
                return ended.eq_ignore_ascii_case(name).then_some(end.after);
            }
            let (shape, attributes) = tag_name(rest.get(1..)?)?;
            if !is_shape(&Name::of(shape)) {
                return None;
            }
            let end = self.behind_attributes(Some((Namespace::Svg, shape)), attributes)?;
            rest = match end.is_self_closing {
                true => end.after,
                false => self.behind_drawing(end.after, shape, groups)?,
            };
        }
    }

    /// The end of a tag, from behind its name. `None` if a URL of this element may change, and for what is rare.
    #[inline]
    fn behind_attributes<'a>(
        &mut self,
        element: Option<(Namespace, &[u8])>,
        mut rest: &'a [u8],
    ) -> Option<TagEnd<'a>> {
        loop {
            if let [b'>', after @ ..] = rest {
                return Some(TagEnd { is_self_closing: false, after });
            }
            let (before, sign) = rest.split_at_checked(find2(b'=', b'>', rest)?)?;
            let from = match sign {
                [b'>', after @ ..] => return Some(TagEnd { is_self_closing: before.ends_with(b"/"), after }),
                // An `=` behind anything but a name may begin one.
                _ if !before.last()?.is_ascii_alphanumeric() => return None,
                [_, from @ ..] => from,
                [] => return None,
            };
            rest = match from {
                [quote @ (b'"' | b'\''), value @ ..] => value.get(find(*quote, value)?..)?.get(1..)?,
                _ => {
                    let end = from.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>')?;
                    from.get(end..).filter(|_| end > 0)?
                }
            };
            // Of an end tag none is looked for: what it ends may be asked about only after it.
            if let Some((namespace, element)) = element
                && self.has_scheme(from, rest)
                && self.is_target(namespace, element, before)
            {
                return None;
            }
        }
    }

    /// Whether the attribute of which the name ends here may hold a URL.
    fn is_target(&self, namespace: Namespace, element: &[u8], name: &[u8]) -> bool {
        let name = name.rsplit(|byte| byte.is_ascii_whitespace() || *byte == b'/').next().unwrap_or_default();
        let target = || target(namespace, Name::of(element).as_bytes(), &Name::of(name), self.targets);
        may_be_target(name) && target().is_some()
    }

    /// What follows the end tag of an element that holds text.
    fn behind_text<'a>(&mut self, mut text: &'a [u8], name: &Name) -> Option<&'a [u8]> {
        loop {
            text = text.get(memchr(b'<', text)?..)?;
            match text {
                [_, b'/', rest @ ..] => {
                    if let Some((ended, rest)) = tag_name(rest)
                        && ended.eq_ignore_ascii_case(name.as_bytes())
                    {
                        return Some(self.behind_attributes(None, rest)?.after);
                    }
                }
                // An escaped script may hold its end tag.
                [_, b'!', ..] if name.is(b"script") => return None,
                _ => {}
            }
            text = text.get(1..)?;
        }
    }

    #[inline]
    fn has_scheme(&mut self, from: &[u8], to: &[u8]) -> bool {
        if self.scheme > from.len() {
            self.scheme = from_scheme(from);
        }
        self.scheme > to.len()
    }
}

struct TagEnd<'a> {
    is_self_closing: bool,
    after: &'a [u8],
}

/// Elements in each other that are passed over as a whole.
const MAX_GROUPS: usize = 8;

/// What follows a comment, from behind its `<!`.
fn behind_comment(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"--")?;
    loop {
        rest = rest.get(memchr(b'>', rest)?..)?.get(1..)?;
        let comment = bytes.get(..bytes.len().checked_sub(rest.len())?)?;
        if comment.ends_with(b"-->") {
            return Some(rest);
        }
        // It ends here too, if the dashes are not those of its start.
        if comment.ends_with(b"--!>") {
            return (comment.len() >= b"----!>".len()).then_some(rest);
        }
    }
}

/// Elements of SVG that hold nothing but each other, and no URL but in an attribute.
fn is_shape(name: &Name) -> bool {
    matches!(
        name.as_bytes(),
        b"circle"
            | b"clippath"
            | b"defs"
            | b"ellipse"
            | b"g"
            | b"line"
            | b"lineargradient"
            | b"path"
            | b"polygon"
            | b"polyline"
            | b"radialgradient"
            | b"rect"
            | b"stop"
            | b"symbol"
            | b"text"
            | b"use"
    )
}

/// Most names are told by this from those of elements that hold not just markup of HTML, or mostly a URL.
fn may_be_special(name: &[u8]) -> bool {
    matches!(
        (name.len(), name.first().map(u8::to_ascii_lowercase)),
        (3, Some(b's' | b'x' | b'i'))
            | (4, Some(b'm' | b'l'))
            | (5, Some(b's' | b't'))
            | (6, Some(b's' | b'i'))
            | (7, Some(b'n'))
            | (8, Some(b't' | b'n'))
            | (9, Some(b'p'))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(page: &str) -> usize {
        Skim::new(Syntax::Html, Targets::DEFAULT, from_scheme(page.as_bytes())).pass(page.as_bytes())
    }

    #[test]
    fn whole_elements_are_passed_over() {
        for page in [
            "",
            "a > b",
            "<p>",
            "</p >",
            "<P class=a id='b>' title=\"c'>\" hidden><br/><img src=/a/><x-y.z:w>",
            "<style a>b{c:url(/d)}</p></styl></STYLE\n>",
            "<span><small><table><nav><path>",
            "<p><a\nb\tc\x0cd='e'f=g>",
            "<p a\"b \"a'><p<a><p / ><p a / b='>'>",
            "http://h/ <a href=http://h/ title='http://h/'><p itemtype=http://h/ ></p http://h/>",
            "<title><p>http://h/</titl></title><textarea></TEXTAREA/><script>http:/ </style </script a='>'>",
            "<xmp><!-- </xmp><iframe></iframe><noembed></noembed><noframes></noframes>",
            "<!-- http://h/ <p> - -- > --><!-----!><!--><!--->",
            "<svg xmlns=http://h/><g><path d='M0 0'/><!-- a --><use href=/a></use>b</g></SVG ><svg/><title></title>",
        ] {
            assert_eq!(passed(page), page.len(), "{page}");
        }
        for tag in [
            "<",
            "<p",
            "<p a",
            "<p a='",
            "<p a=b",
            "</",
            "</>",
            "</3>",
            "<!-- --",
            "<!--!>",
            "<!---!>",
            "<!a>",
            "<![CDATA[a]]>",
            "<?a>",
            "<svg>",
            "<svg><g></svg>",
            "<svg></g></svg>",
            "<svg><p></svg>",
            "<svg></p></svg>",
            "<svg><title></title></svg>",
            "<svg><svg></svg></svg>",
            "<svg><path d=M0/></svg>",
            "<svg><use href=http://h/ /></svg>",
            "<svg><g><g><g><g><g><g><g><g></g></g></g></g></g></g></g></g></svg>",
            "<Math>",
            "<math></math>",
            "<title>",
            "<script><!-- </script>",
            "<NOSCRIPT></noscript>",
            "<plaintext>",
            "<style>",
            "<style>a</style",
            "<style>a</styles>",
            "<style>a{b:url(http://h/)}</style>",
            "<style>a{b:url(http://h/)}</style a='>'>",
            "<img src=http://h/>",
            "<a href=http://h/ style='a:url(http:/)'>",
            "<p a='http:' style='b:url(http:&sol;)'>",
            "<p =a>",
            "<p a=>",
            "<p a= b>",
            "<p a =b>",
            "<p a='b'='>'>",
            "</p a",
        ] {
            assert_eq!(passed(&format!("a<b>{tag}")), 4, "{tag}");
        }
        for element in ["<style>a</style>", "<svg></svg>", "<!-- -->"] {
            assert_eq!(Skim::new(Syntax::Xml, Targets::DEFAULT, 0).pass(element.as_bytes()), 0, "{element}");
        }
    }
}
