//! `.` and `..` in paths (RFC 3986, sections 5.2.3 and 5.2.4), and what else browsers take for them.

/// What counts as `.` and `..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dots {
    /// `/` separates segments, a dot is a dot.
    AsRfc3986,
    /// `\` separates too, `%2e` is a dot, a tab is nothing (URL standard, "path state" and "double-dot URL path
    /// segment").
    AsBrowsers,
}

/// The path without dot segments (section 5.2.4). What climbs higher than the root stays at the root. Every separator
/// becomes `/`. Allocates.
///
/// # Example
///
/// ```
/// use tower_proxied::wire::dot_segments::{Dots, remove};
///
/// assert_eq!(remove(b"/a/b/./../c", Dots::AsRfc3986), b"/a/c");
/// assert_eq!(remove(b"/../%2e%2E/a", Dots::AsRfc3986), b"/%2e%2E/a");
/// assert_eq!(remove(b"/../%2e%2E/a", Dots::AsBrowsers), b"/a");
/// assert_eq!(remove(b"/a/b/..\\c", Dots::AsBrowsers), b"/a/c");
/// ```
pub fn remove(path: &[u8], dots: Dots) -> Vec<u8> {
    let mut segments =
        path.split(|byte| dots.separates(*byte)).skip_while(|segment| dots.step(segment).is_some());
    let mut kept = Vec::with_capacity(path.len());
    kept.extend_from_slice(segments.next().unwrap_or_default());
    push_without_dots(&mut kept, segments, 0, dots);
    kept
}

/// What a path is written into.
pub(crate) trait PathBuffer: AsRef<[u8]> {
    /// A slash, and then the segment.
    fn push_segment(&mut self, segment: &[u8]);

    fn truncate(&mut self, length: usize);
}

impl PathBuffer for Vec<u8> {
    fn push_segment(&mut self, segment: &[u8]) {
        self.push(b'/');
        self.extend_from_slice(segment);
    }

    fn truncate(&mut self, length: usize) {
        self.truncate(length);
    }
}

/// Writes segments, each behind a slash, and goes back where they say so, but never to before `floor`.
pub(crate) fn push_without_dots<'a>(
    kept: &mut impl PathBuffer,
    segments: impl Iterator<Item = &'a [u8]>,
    floor: usize,
    dots: Dots,
) {
    let mut ends_in_dots = false;
    for segment in segments {
        let step = dots.step(segment);
        match step {
            None => kept.push_segment(segment),
            Some(Step::Stay) => {}
            Some(Step::Up) => {
                let above = kept.as_ref().iter().rposition(|byte| *byte == b'/').unwrap_or_default();
                kept.truncate(above.max(floor));
            }
        }
        ends_in_dots = step.is_some();
    }
    if ends_in_dots {
        kept.push_segment(b"");
    }
}

/// Where a relative path leads from `base`, a path (sections 5.2.3 and 5.2.4). Allocates.
///
/// ```
/// use tower_proxied::wire::dot_segments::{Dots, resolve};
///
/// assert_eq!(resolve(b"/app/x", b"../y", Dots::AsRfc3986), b"/y");
/// assert_eq!(resolve(b"/app/x/", b"y", Dots::AsRfc3986), b"/app/x/y");
/// ```
pub fn resolve(base: &[u8], relative: &[u8], dots: Dots) -> Vec<u8> {
    let last_slash = base.iter().rposition(|byte| dots.separates(*byte));
    let folder = last_slash.and_then(|last| base.get(..=last)).unwrap_or_default();
    remove(&[folder, relative].concat(), dots)
}

/// Whether `..` segments lead above the point where the path starts.
///
/// The strictest of the usual readings: as browsers, and since many servers merge slashes, an empty segment is no step
/// down.
///
/// ```
/// use tower_proxied::wire::dot_segments::climbs_out;
///
/// assert!(climbs_out(b"/../admin"));
/// assert!(climbs_out(b"/a/%2E./..\\admin"));
/// assert!(climbs_out(b"/\t/../admin"));
/// assert!(!climbs_out(b"/a/../b"));
/// assert!(!climbs_out(b"/..;/a..%2F../..."));
/// ```
pub fn climbs_out(path: &[u8]) -> bool {
    let may_hold_dots = path.iter().any(|byte| matches!(byte, b'.' | b'%'));
    let is_step = |segment: &&[u8]| segment.iter().any(|byte| *byte != b'\t');
    may_hold_dots && walk(segments_as_browsers(path).filter(is_step)).up > 0
}

/// Where a relative path leads, in folders, as browsers read it; an empty segment is one.
pub(crate) fn folders(path: &[u8]) -> Folders {
    walk(segments_as_browsers(path))
}

pub(crate) struct Folders {
    /// How far it leads above where it starts.
    pub(crate) up: usize,
    /// How far it leads down from its highest point.
    pub(crate) down: usize,
}

fn segments_as_browsers(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| Dots::AsBrowsers.separates(*byte))
}

fn walk<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Folders {
    let mut folders = Folders { up: 0, down: 0 };
    let mut segments = segments.peekable();
    while let Some(segment) = segments.next() {
        match Dots::AsBrowsers.step(segment) {
            Some(Step::Up) => match folders.down.checked_sub(1) {
                Some(down) => folders.down = down,
                None => folders.up = folders.up.saturating_add(1),
            },
            // The last one is no folder.
            None if segments.peek().is_some() => folders.down = folders.down.saturating_add(1),
            Some(Step::Stay) | None => {}
        }
    }
    folders
}

enum Step {
    Stay,
    Up,
}

impl Dots {
    fn separates(self, byte: u8) -> bool {
        byte == b'/' || self == Self::AsBrowsers && byte == b'\\'
    }

    /// What a segment means that is `.` or `..`.
    fn step(self, segment: &[u8]) -> Option<Step> {
        let is_browser = self == Self::AsBrowsers;
        let mut count = 0_u8;
        let mut bytes = segment.iter().filter(|byte| !(is_browser && **byte == b'\t'));
        while let Some(byte) = bytes.next() {
            let is_dot = match byte {
                b'.' => true,
                b'%' if is_browser => {
                    bytes.next() == Some(&b'2') && matches!(bytes.next(), Some(b'e' | b'E'))
                }
                _ => false,
            };
            count = count.saturating_add(is_dot.then_some(1)?);
        }
        match count {
            1 => Some(Step::Stay),
            2 => Some(Step::Up),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn climbing() {
        for yes in [
            "/..",
            "/../",
            "/a/../..",
            "/a//../../b",
            "//..",
            "/.%2e",
            "/%2E%2e/x",
            "/a\\..\\..",
            "/.\t./x",
            "/%2\te%\t2E",
            "..",
        ] {
            assert!(climbs_out(yes.as_bytes()), "{yes}");
        }
        for no in
            ["", "/", "/a/..", "/./a/../b/..", "/...", "/..a", "/a/..;/..;", "/..%2f..%2f", "/%252e%252e"]
        {
            assert!(!climbs_out(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn as_browsers() {
        for (path, clean) in [
            ("/a/./b/%2e%2e/../../c/..", "/"),
            ("\\a\\..\\b\\", "/b/"),
            ("/a/.\t%2\tE/b", "/b"),
            ("/a//..//b", "/a//b"),
            ("/a/%2e%2e%2e/b", "/a/%2e%2e%2e/b"),
        ] {
            assert_eq!(remove(path.as_bytes(), Dots::AsBrowsers), clean.as_bytes(), "{path}");
        }
        assert_eq!(resolve(b"/a\\b", b"c", Dots::AsBrowsers), b"/a/c");
    }

    /// Sections 5.4.1 and 5.4.2, what there is of relative paths.
    #[test]
    fn resolution() {
        for (relative, path) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            (";x", "/b/c/;x"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("./../g", "/b/g"),
            ("./g/.", "/b/c/g/"),
            ("g/./h", "/b/c/g/h"),
            ("g/../h", "/b/c/h"),
            ("g;x=1/../y", "/b/c/y"),
        ] {
            for dots in [Dots::AsRfc3986, Dots::AsBrowsers] {
                let resolved = resolve(b"/b/c/d;p", relative.as_bytes(), dots);
                assert_eq!(resolved, path.as_bytes(), "{relative} {dots:?}");
            }
        }
    }

    /// The algorithm of section 5.2.4, step by step.
    fn remove_as_written(path: &str) -> String {
        let (mut input, mut output) = (path.to_owned(), String::new());
        while !input.is_empty() {
            if let Some(rest) = input.strip_prefix("../").or(input.strip_prefix("./")) {
                input = rest.to_owned();
            } else if input.starts_with("/./") || input == "/." {
                input = format!("/{}", input.get(3..).unwrap_or_default());
            } else if input.starts_with("/../") || input == "/.." {
                input = format!("/{}", input.get(4..).unwrap_or_default());
                output.truncate(output.rfind('/').unwrap_or(0));
            } else if input == "." || input == ".." {
                input.clear();
            } else {
                let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
                output.push_str(&input[..end]);
                input = input[end..].to_owned();
            }
        }
        output
    }

    proptest! {
        #[test]
        fn dots_go_as_the_rfc_writes(path in "[a./]{0,14}") {
            prop_assert_eq!(remove(path.as_bytes(), Dots::AsRfc3986), remove_as_written(&path).into_bytes());
        }

        /// What browsers read otherwise is spelled out, and then the RFC holds.
        #[test]
        fn browsers_differ_in_spelling_only(path in "(/|\\\\|\\.|%2e|%2E|a|\t){0,14}") {
            let spelled_out = |path: &str| path.replace('\t', "").replace('\\', "/").to_ascii_lowercase().replace("%2e", ".");
            let removed = String::from_utf8(remove(path.as_bytes(), Dots::AsBrowsers)).unwrap();
            prop_assert_eq!(spelled_out(&removed), remove_as_written(&spelled_out(&path)));
        }

        #[test]
        fn browsers_find_no_dots_left(path in "(/|\\.|%2e|%2E|a){0,14}") {
            let removed = remove(path.as_bytes(), Dots::AsBrowsers);
            let text = String::from_utf8(removed).unwrap().to_ascii_lowercase().replace("%2e", ".");
            prop_assert!(!text.split('/').any(|segment| matches!(segment, "." | "..")), "{}", text);
        }

        /// Spelled out, and walked with a depth that may fall below zero.
        #[test]
        fn climbing_is_the_naive_one(path in "(/|\\\\|\\.\\.|\\.|%2e|%2E|%2f|%|a|\t){0,10}") {
            let spelled_out = path.replace('\t', "").replace('\\', "/").to_ascii_lowercase().replace("%2e", ".");
            let depths = spelled_out.split('/').scan(0_i32, |depth, segment| {
                *depth += match segment {
                    "" | "." => 0,
                    ".." => -1,
                    _ => 1,
                };
                Some(*depth)
            });
            prop_assert_eq!(climbs_out(path.as_bytes()), depths.min() < Some(0), "{}", path);
        }

        #[test]
        fn without_dot_segments_nothing_climbs(path in "/([ab./\\\\\t]|%2e){0,12}") {
            let path = remove(path.as_bytes(), Dots::AsBrowsers);
            prop_assert!(!climbs_out(&path));
            prop_assert_eq!(remove(&path, Dots::AsBrowsers), path);
        }

        #[test]
        fn no_bytes_panic(
            base in prop::collection::vec(any::<u8>(), 0..8),
            path in prop::collection::vec(any::<u8>(), 0..24),
        ) {
            for dots in [Dots::AsRfc3986, Dots::AsBrowsers] {
                let _ = (climbs_out(&path), resolve(&base, &path, dots));
            }
        }
    }
}
