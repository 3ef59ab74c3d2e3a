use std::cmp::Ordering;
use std::fmt;

use http::HeaderName;

use super::name::{fold, folds_to_prefix};

/// Names and starts of names, compiled so that a request's headers can be asked about one by one: most of those that
/// are not in the set are told by three of their bytes. Each name stands for all spellings that
/// [fold together](super::name::fold_together) with it.
///
/// Asking allocates nothing; its time grows with the length of the name, the logarithm of the number of names and
/// the number of prefixes, and only for names that look like one of the set.
///
/// # Example
///
/// ```
/// use http::HeaderName;
/// use tower_proxied::wire::name::NameSet;
///
/// let set = NameSet::new(["remote-user"], ["x-remote-extra-"]);
/// for name in ["remote-user", "remote_user", "x.remote-extra-scopes"] {
///     assert!(set.contains(&HeaderName::from_static(name)), "{name}");
/// }
/// assert!(!set.contains(&HeaderName::from_static("remote-users")));
/// ```
#[derive(Clone)]
pub struct NameSet {
    /// A bit for the [`mark`] of each name, and of each prefix cut to the length of the shortest one.
    marks: [u64; 16],
    /// Folded, in the order of [`compare`].
    names: Vec<Box<[u8]>>,
    /// Folded.
    prefixes: Vec<Box<[u8]>>,
    shortest_prefix: Option<usize>,
}

impl NameSet {
    /// The names themselves, and all names that start with one of the prefixes.
    pub fn new<N, P>(names: N, prefixes: P) -> Self
    where
        N: IntoIterator<Item: AsRef<str>>,
        P: IntoIterator<Item: AsRef<str>>,
    {
        let folded = |text: &str| text.bytes().map(fold).collect();
        let mut names: Vec<Box<[u8]>> = names.into_iter().map(|name| folded(name.as_ref())).collect();
        names.sort_by(|a, b| compare(a, b));
        names.dedup();
        let prefixes: Vec<Box<[u8]>> = prefixes.into_iter().map(|prefix| folded(prefix.as_ref())).collect();
        let shortest_prefix = prefixes.iter().map(|prefix| prefix.len()).min();
        let mut marks = [0; 16];
        let starts = prefixes.iter().filter_map(|prefix| prefix.get(..shortest_prefix?));
        for text in names.iter().map(|name| &**name).chain(starts) {
            let (word, bit) = mark(text);
            if let Some(word) = marks.get_mut(word) {
                *word |= bit;
            }
        }
        Self { marks, names, prefixes, shortest_prefix }
    }

    /// Whether the set holds this name, in any spelling.
    #[inline]
    pub fn contains(&self, header: &HeaderName) -> bool {
        let name = header.as_str().as_bytes();
        let start = self.shortest_prefix.and_then(|length| name.get(..length));
        let is_likely = self.is_marked(name) || start.is_some_and(|start| self.is_marked(start));
        is_likely && self.holds(name)
    }

    /// The same, for any name.
    #[inline(never)]
    fn holds(&self, name: &[u8]) -> bool {
        self.names.binary_search_by(|own| compare(own, name)).is_ok()
            || self.prefixes.iter().any(|prefix| folds_to_prefix(name, prefix))
    }

    fn is_marked(&self, text: &[u8]) -> bool {
        let (word, bit) = mark(text);
        self.marks.get(word).is_some_and(|word| word & bit != 0)
    }
}

/// Says how much it holds: the names of a layer are seen where they are configured.
impl fmt::Debug for NameSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameSet({} names, {} prefixes)", self.names.len(), self.prefixes.len())
    }
}

/// Ten bits of the length, the middle byte and the last one: the index of a word of 64 bits, and the bit in it.
fn mark(text: &[u8]) -> (usize, u64) {
    let byte = |at: usize| text.get(at).map_or(0, |byte| usize::from(fold(*byte)));
    let (middle, last) = (byte(text.len() / 2), byte(text.len().wrapping_sub(1)));
    let mixed = middle.wrapping_shl(5) ^ last ^ text.len().wrapping_mul(0x2b1);
    (mixed.wrapping_shr(6) & 15, 1 << (mixed & 63))
}

/// The shorter first, then by bytes; `own` is folded.
fn compare(own: &[u8], name: &[u8]) -> Ordering {
    own.len().cmp(&name.len()).then_with(|| own.iter().copied().cmp(name.iter().map(|byte| fold(*byte))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::name::{FORWARDING, IDENTITY, IDENTITY_PREFIXES, is_forwarding, is_identity};

    /// What the set answers, said without one.
    fn naive(names: &[&str], prefixes: &[&str], name: &str) -> bool {
        let folded =
            |text: &str| text.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        names.iter().any(|own| folded(own) == folded(name))
            || prefixes.iter().any(|prefix| folded(name).starts_with(&folded(prefix)))
    }

    /// A known name, near it, or any: with other marks for hyphens, a byte more, less or changed.
    fn names() -> impl Strategy<Value = String> {
        let known =
            prop::sample::select([FORWARDING, IDENTITY, IDENTITY_PREFIXES, &["x", "zz-", "-"]].concat());
        let marks = prop::collection::vec(prop::sample::select(b"-_.~+^|%'!*#$&`".to_vec()), 1..8);
        let spelled = (known, marks).prop_map(|(known, marks)| {
            let mut marks = marks.into_iter().cycle();
            let spelled = known.bytes().map(|byte| if byte == b'-' { marks.next().unwrap() } else { byte });
            String::from_utf8(spelled.collect()).unwrap()
        });
        prop_oneof![
            4 => spelled.clone(),
            2 => (spelled.clone(), "[a-z0-9!#$%&'*+.^_`|~-]{1,6}").prop_map(|(name, more)| name + &more),
            1 => ("[a-z0-9!#$%&'*+.^_`|~-]{1,2}", spelled.clone()).prop_map(|(more, name)| more + &name),
            2 => (spelled.clone(), any::<prop::sample::Index>()).prop_map(|(mut name, at)| {
                name.remove(at.index(name.len()));
                name
            }),
            3 => (spelled, any::<prop::sample::Index>(), "[a-z0-9!#$%&'*+.^_`|~-]").prop_map(|(mut name, at, other)| {
                let at = at.index(name.len());
                name.replace_range(at..=at, &other);
                name
            }),
            1 => "[a-z0-9!#$%&'*+.^_`|~-]{1,40}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn answers_as_the_list_does(
            own in prop::collection::vec(names(), 0..60),
            prefixes in prop::collection::vec(names(), 0..5),
            asked in prop::collection::vec(names(), 1..40),
        ) {
            let own: Vec<&str> = own.iter().map(|name| &**name).collect();
            let prefixes: Vec<&str> = prefixes.iter().map(|prefix| &**prefix).collect();
            let set = NameSet::new(own.iter().map(|name| name.to_ascii_uppercase()), &prefixes);
            for name in asked.iter().map(|name| &**name).chain(own.iter().copied()) {
                let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else { continue };
                prop_assert_eq!(set.contains(&header), naive(&own, &prefixes, name), "{}", name);
            }
        }

        #[test]
        fn the_known_sets_answer_as_their_lists_do(name in names()) {
            if let Ok(header) = HeaderName::from_bytes(name.as_bytes()) {
                prop_assert_eq!(is_identity(&header), naive(IDENTITY, IDENTITY_PREFIXES, &name));
                prop_assert_eq!(is_forwarding(&header), naive(FORWARDING, &[], &name));
            }
        }
    }

    #[test]
    fn nothing_and_everything() {
        let header = HeaderName::from_static("x");
        assert!(!NameSet::new([""; 0], [""; 0]).contains(&header));
        assert!(!NameSet::new([""], [""; 0]).contains(&header));
        assert!(NameSet::new([""; 0], ["long-prefix-", ""]).contains(&header));
    }
}
