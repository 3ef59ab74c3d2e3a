//! Passes over what means nothing to URLs, without a look at each token.

use memchr::{memchr, memchr2};

use super::elements::content_of;
use super::find::{behind_near_end, find, find2};
use super::name::Name;
use super::namespaces::Namespace;
use super::offset;
use super::scheme::from_scheme;
use super::targets::{Kind, bit, may_be_target, target};
use super::tokenizer::{Content, Part, Syntax, part, tag_name};
use super::upgrade::KnownHost;
use crate::force_https_body::policy::Targets;

/// Skims one piece: all that it is given are ends of it.
#[derive(Debug)]
pub(super) struct Skim {
    syntax: Syntax,
    targets: Targets,
    /// How many bytes there are from the next scheme on. It is looked for again behind it.
    scheme: usize,
    /// Where the piece ends.
    end: u64,
}

impl Skim {
    /// `scheme` tells how many bytes of the piece there are from its first scheme on.
    pub(super) fn new(syntax: Syntax, targets: Targets, scheme: usize, end: u64) -> Self {
        Self { syntax, targets, scheme, end }
    }

    /// How many bytes, from between two tags on, are text and whole elements, tags and comments in which no URL
    /// changes but those of images on the known host, and behind which markup of HTML goes on.
    pub(super) fn pass(&mut self, bytes: &[u8], known: &mut KnownHost<'_>) -> usize {
        let mut rest = bytes;
        while let Some(text) = find(b'<', rest) {
            rest = rest.get(text..).unwrap_or_default();
            match self.behind(rest, known) {
                Some(after) => rest = after,
                None => return bytes.len().saturating_sub(rest.len()),
            }
        }
        bytes.len()
    }

    /// What follows the tag, the comment or the element that `bytes` begin with. `None` for all that is not whole.
    fn behind<'a>(&mut self, bytes: &'a [u8], known: &mut KnownHost<'_>) -> Option<&'a [u8]> {
        if let [_, b'/', named @ ..] = bytes {
            return self.behind_end_tag(named);
        }
        let Some((name, rest)) = tag_name(bytes.get(1..)?) else {
            let comment = bytes.strip_prefix(b"<!").filter(|_| self.syntax == Syntax::Html)?;
            return behind_comment(comment);
        };
        let may_be_special = may_be_special(name);
        if may_be_special && self.is_fetched_from_here(name, rest) {
            let upgrades = known.upgrades.len();
            let after = if name == b"link" { None } else { self.behind_known(name, rest, known) };
            if after.is_none() {
                known.upgrades.truncate(upgrades);
            }
            return after;
        }
        let end = self.end_of_tag(Some(Namespace::Html), name, rest)?;
        if may_be_special { self.behind_special(name, end) } else { behind_end(end) }
    }

    #[inline]
    fn behind_end_tag<'a>(&mut self, named: &'a [u8]) -> Option<&'a [u8]> {
        named.first().filter(|byte| byte.is_ascii_alphabetic())?;
        if let Some(after) = behind_near_end(named) {
            return Some(after);
        }
        let (_, rest) = tag_name(named)?;
        behind_end(self.end_of_tag(None, &[], rest)?)
    }

    /// Elements that mostly hold a URL are not worth a look before the one that counts, if there is a scheme so near.
    fn is_fetched_from_here(&mut self, name: &[u8], rest: &[u8]) -> bool {
        const NEAR: usize = 256;
        matches!(name, b"img" | b"link" | b"source")
            && self.has_scheme(rest, rest.get(NEAR..).unwrap_or_default())
    }

    /// What follows the attributes of an element, if all of its URLs that change are of the known host.
    fn behind_known<'a>(
        &mut self,
        element: &[u8],
        mut attributes: &'a [u8],
        known: &mut KnownHost<'_>,
    ) -> Option<&'a [u8]> {
        let mut seen = 0;
        loop {
            let from = attributes;
            let (name, value, behind_value) = match part(from)? {
                Part::Attribute { name, value, behind_value, after } => {
                    attributes = after;
                    (name, value, behind_value)
                }
                Part::End { after, .. } => return Some(after),
            };
            if !may_be_target(name) {
                continue;
            }
            let name = Name::of(name);
            let bit = bit(name.as_bytes());
            if seen & bit != 0 {
                return None;
            }
            seen |= bit;
            let len = value.len().checked_add(behind_value.len())?;
            if !self.has_scheme(from.get(from.len().checked_sub(len)?..)?, behind_value) {
                continue;
            }
            let at = self.end.saturating_sub(offset(len));
            match target(Namespace::Html, element, &name, self.targets).map(|target| target.kind) {
                Some(Kind::Url) => _ = known.upgrade(value, at)?,
                Some(Kind::Srcset) => upgrade_srcset(value, at, known)?,
                None => {}
                Some(_) => return None,
            }
        }
    }

    #[inline(never)]
    fn behind_special<'a>(&mut self, name: &[u8], end: &'a [u8]) -> Option<&'a [u8]> {
        let name = &Name::of(name);
        let inside = behind_end(end)?;
        match content_of(name) {
            Content::Markup if !matches!(name.as_bytes(), b"svg" | b"math") => Some(inside),
            _ if self.syntax == Syntax::Xml => None,
            Content::Text | Content::Script => {
                let after = self.behind_text(inside, name)?;
                let may_change = name.is(b"style") && self.has_scheme(inside, after);
                (!may_change).then_some(after)
            }
            Content::Markup if name.is(b"math") => None,
            Content::Markup if is_self_closing(end) => Some(inside),
            Content::Markup => self.behind_drawing(inside, name.as_bytes(), MAX_GROUPS),
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
                let after = behind_end(self.end_of_tag(None, &[], rest)?)?;
                return ended.eq_ignore_ascii_case(name).then_some(after);
            }
            let (shape, attributes) = tag_name(rest.get(1..)?)?;
            if !is_shape(&Name::of(shape)) {
                return None;
            }
            let end = self.end_of_tag(Some(Namespace::Svg), shape, attributes)?;
            rest = behind_end(end)?;
            if !is_self_closing(end) {
                rest = self.behind_drawing(rest, shape, groups)?;
            }
        }
    }

    /// The `>` or `/>` of a tag and all behind it. `None` if a URL of this element may change, and for what is rare.
    #[inline(always)]
    fn end_of_tag<'a>(
        &mut self,
        namespace: Option<Namespace>,
        element: &[u8],
        mut rest: &'a [u8],
    ) -> Option<&'a [u8]> {
        loop {
            if let [b'>', ..] = rest {
                return Some(rest);
            }
            let (before, sign) = rest.split_at_checked(find2(b'=', b'>', rest)?)?;
            let from = match sign {
                [b'>', ..] => return rest.get(before.strip_suffix(b"/").unwrap_or(before).len()..),
                // An `=` behind anything but a name may begin one.
                _ if !before.last()?.is_ascii_alphanumeric() => return None,
                [_, from @ ..] => from,
                [] => return None,
            };
            rest = match from {
                // Each with its own constant: nothing waits for the quote to be read.
                [b'"', value @ ..] => value.get(find(b'"', value)?..)?.get(1..)?,
                [b'\'', value @ ..] => value.get(find(b'\'', value)?..)?.get(1..)?,
                _ => {
                    let end = from.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>')?;
                    from.get(end..).filter(|_| end > 0)?
                }
            };
            // Of an end tag none is looked for: what it ends may be asked about only after it.
            if let Some(namespace) = namespace
                && self.has_scheme(from, rest)
                && self.is_target(namespace, element, before)
            {
                return None;
            }
        }
    }

    /// Whether the attribute of which the name ends here may hold a URL.
    #[inline(never)]
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
                        return behind_end(self.end_of_tag(None, &[], rest)?);
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

/// Upgrades all of a `srcset`, if all of it is of the known host.
fn upgrade_srcset(srcset: &[u8], at: u64, known: &mut KnownHost<'_>) -> Option<()> {
    if memchr2(b'&', b'(', srcset).is_some() {
        return None;
    }
    let mut rest = srcset;
    while let Some(start) = rest.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b',') {
        rest = rest.get(start..)?;
        let skipped = srcset.len().checked_sub(rest.len())?;
        let path = known.upgrade(rest, at.saturating_add(offset(skipped)))?;
        let end = path.iter().position(u8::is_ascii_whitespace).unwrap_or(path.len());
        let (url, descriptors) = path.split_at_checked(end)?;
        rest = match (url.ends_with(b","), find(b',', descriptors)) {
            (true, _) => descriptors,
            (false, comma) => comma.and_then(|comma| descriptors.get(comma..)).unwrap_or_default(),
        };
    }
    Some(())
}

/// What follows the `>` or `/>` of a tag.
#[inline]
fn behind_end(end: &[u8]) -> Option<&[u8]> {
    end.strip_prefix(b"/").unwrap_or(end).get(1..)
}

fn is_self_closing(end: &[u8]) -> bool {
    end.starts_with(b"/")
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

    /// How many bytes are passed over, and where the URLs of `h` stand among them.
    fn pass(syntax: Syntax, page: &str) -> (usize, Vec<usize>) {
        let page = page.as_bytes();
        let mut upgrades = Vec::new();
        let mut known = KnownHost { authority: b"h", upgrades: &mut upgrades };
        let mut skim = Skim::new(syntax, Targets::DEFAULT, from_scheme(page), offset(page.len()));
        let passed = skim.pass(page, &mut known);
        (passed, upgrades.iter().map(|upgrade| upgrade.scheme_at as usize).collect())
    }

    fn passed(page: &str) -> usize {
        let (passed, upgrades) = pass(Syntax::Html, page);
        assert!(upgrades.is_empty(), "{page}");
        passed
    }

    #[test]
    fn images_of_the_known_host() {
        for page in [
            "<img src=http://h/>",
            "a<b><img class=a SRC='http://h/a&amp;b' alt=\"http://g/\"\nhidden /><p>",
            "<source srcset=\"http://h/a 1x, http://h/b 2x\" src='http://h/'>",
            "<img srcset=' ,http://h/a,http:,http://h/b 1x\n,\thttp://h/c, http://h/d'>",
            "<img src=http://h/ data-src=http://g/>",
        ] {
            let of_h = page.match_indices("http://h/").map(|(at, _)| at);
            // What follows a comma without a space is of the same URL.
            let due = of_h.filter(|at| !page[..*at].ends_with(":,")).collect();
            assert_eq!(pass(Syntax::Html, page), (page.len(), due), "{page}");
        }
        for tag in [
            "<img src=http://h/ ",
            "<img src='http://h/",
            "<img src=http://h>",
            "<img src=http://hh/>",
            "<img src=HTTP://h/>",
            "<img src=' http://h/'>",
            "<img src=http://h/ src=/a>",
            "<img src=/a src=http://h/>",
            "<img src src=http://h/>",
            "<img src=http://h/ style='a:url(http://h/)'>",
            "<img src=http://h/ srcset='http://h/a, http://g/b'>",
            "<img src=http://h/ srcset='/a, http://h/b'>",
            "<img src=http://h/ srcset='http://h/a&#44; http://h/b'>",
            "<img src=http://h/ srcset='http://h/a (,http://h/b)'>",
            "<link rel=icon href=http://h/>",
            "<iframe src=http://h/>",
        ] {
            assert_eq!(passed(&format!("a<b>{tag}")), 4, "{tag}");
        }
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
            "<img src=http://g/>",
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
            assert_eq!(pass(Syntax::Xml, element), (0, Vec::new()), "{element}");
        }
    }
}
