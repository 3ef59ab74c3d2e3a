//! The stack of open elements (HTML Standard, section 13.2.4.2), which is searched many elements at once.

use std::ops::Range;

use super::elements::Traits;
use super::formatting::Formatting;
use super::name::{Name, hash};

/// The name of an element, and whether it is one of HTML.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key(u32);

impl Key {
    pub(super) const fn html(name: &[u8]) -> Self {
        Self(hash(name) | 1)
    }

    pub(super) fn of_html(name: &Name) -> Self {
        Self(name.hash() | 1)
    }

    pub(super) fn of_foreign(name: &Name) -> Self {
        Self(name.hash() & !1)
    }

    fn bit(self) -> u64 {
        1_u64.rotate_left(self.0 >> 26)
    }
}

/// The elements that are open from the outermost `svg` or `math` on, those of HTML inside of it included.
#[derive(Debug, Default)]
pub(super) struct OpenElements {
    runs: Vec<Run>,
    len: usize,
    pub(super) formatting: Formatting,
    pub(super) is_too_deep: bool,
}

/// Some of them, in arrays that are looked through without a branch for each.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    keys: [Key; RUN],
    traits: [Traits; RUN],
    /// What its elements may be, and by one bit for each name, which others may share, what they may be named.
    any_traits: Traits,
    any_key: u64,
}

const RUN: usize = 32;

impl Run {
    fn put(&mut self, index: usize, key: Key, traits: Traits) {
        if let Some((slot, slot_of_traits)) = self.keys.get_mut(index).zip(self.traits.get_mut(index)) {
            (*slot, *slot_of_traits) = (key, traits);
        }
        self.any_traits = self.any_traits.and(traits);
        self.any_key |= key.bit();
    }
}

/// Where an element stands that a tag asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    At(usize),
    /// An element that is further in ends the search.
    Nowhere,
    /// If there is one, it is around the outermost `svg` or `math`.
    Around,
}

/// Browsers nest no deeper.
pub(super) const MAX_DEPTH: usize = 512;

impl OpenElements {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.len = 0;
        self.formatting.clear();
    }

    pub(super) fn push(&mut self, key: Key, traits: Traits) {
        if self.len >= MAX_DEPTH {
            self.is_too_deep = true;
            return;
        }
        if self.runs.is_empty() {
            // Few are deeper than one.
            self.runs.reserve_exact(1);
        }
        if self.len.is_multiple_of(RUN) {
            self.runs.push(Run::default());
        }
        self.replace(self.len, key, traits);
        self.len = self.len.saturating_add(1);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        let mut listed = 0_usize;
        for at in len..self.len {
            listed = listed.saturating_add(usize::from(self.traits(at).has_any_of(Traits::LISTED)));
            self.replace(at, Key::default(), Traits::default());
        }
        self.formatting.close(len, listed);
        self.len = self.len.min(len);
        self.runs.truncate(self.len.div_ceil(RUN));
    }

    pub(super) fn pop(&mut self) {
        self.truncate(self.len.saturating_sub(1));
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.remove_all(at..at.saturating_add(1));
    }

    pub(super) fn remove_all(&mut self, places: Range<usize>) {
        if places.is_empty() || places.end > self.len {
            return;
        }
        let mut to = places.start;
        for at in places.end..self.len {
            self.copy(at, to);
            to = to.saturating_add(1);
        }
        for at in to..self.len {
            self.replace(at, Key::default(), Traits::default());
        }
        self.len = to;
        self.runs.truncate(to.div_ceil(RUN));
        self.formatting.shift(places.end, places.len());
    }

    pub(super) fn copy(&mut self, at: usize, to: usize) {
        if let Some(key) = self.key(at) {
            self.replace(to, key, self.traits(at));
        }
    }

    pub(super) fn replace(&mut self, at: usize, key: Key, traits: Traits) {
        if let Some(run) = self.runs.get_mut(at / RUN) {
            run.put(at % RUN, key, traits);
        }
    }

    pub(super) fn unlist(&mut self, at: usize) {
        if let Some(key) = self.key(at) {
            self.replace(at, key, self.traits(at).without(Traits::LISTED));
        }
    }

    /// What is known of the current node.
    pub(super) fn top(&self) -> Traits {
        self.len.checked_sub(1).map_or(Traits::HTML, |last| self.traits(last))
    }

    pub(super) fn top_is(&self, key: Key) -> bool {
        self.len.checked_sub(1).is_some_and(|last| self.key(last) == Some(key))
    }

    pub(super) fn key(&self, at: usize) -> Option<Key> {
        self.runs.get(at / RUN)?.keys.get(at % RUN).copied()
    }

    pub(super) fn traits(&self, at: usize) -> Traits {
        self.runs.get(at / RUN).and_then(|run| run.traits.get(at % RUN)).copied().unwrap_or_default()
    }

    pub(super) fn first_with(&self, any_of: Traits, from: usize) -> Option<usize> {
        (from..self.len).find(|at| self.traits(*at).has_any_of(any_of))
    }

    pub(super) fn last_with(&self, any_of: Traits) -> Option<usize> {
        self.last(0, |run| {
            let is = |traits: &Traits| traits.has_any_of(any_of);
            Some(&run.traits).filter(|_| run.any_traits.has_any_of(any_of)).and_then(|all| last(all, is))
        })
    }

    fn last_named(&self, key: Key, from: usize) -> Option<usize> {
        let bit = key.bit();
        self.last(from, |run| {
            Some(&run.keys).filter(|_| run.any_key & bit != 0).and_then(|all| last(all, |open| *open == key))
        })
    }

    fn last(&self, from: usize, in_run: impl Fn(&Run) -> Option<usize>) -> Option<usize> {
        let mut start = self.runs.len().saturating_mul(RUN);
        for run in self.runs.iter().rev() {
            start = start.saturating_sub(RUN);
            if let Some(at) = in_run(run) {
                return Some(start.saturating_add(at)).filter(|at| *at >= from);
            }
            if start <= from {
                return None;
            }
        }
        None
    }

    pub(super) fn has(&self, key: Key) -> bool {
        self.last_named(key, 0).is_some()
    }

    /// The nearest element of this name, unless one that `ends` the search is further in.
    pub(super) fn find(&self, key: Key, ends: Traits) -> Place {
        let end = self.last_with(ends);
        match self.last_named(key, end.unwrap_or(0)) {
            Some(at) => Place::At(at),
            None if end.is_some() => Place::Nowhere,
            None => Place::Around,
        }
    }

    /// The nearest element of this name with none of HTML further in, of which there is none in XML.
    pub(super) fn find_foreign(&self, key: Key, is_xml: bool) -> Option<usize> {
        let html = self.last_with(Traits::HTML).filter(|_| !is_xml);
        self.last_named(key, html.map_or(0, |html| html.saturating_add(1)))
    }

    /// As [`find`](Self::find), for what only counts if it is open here.
    pub(super) fn in_scope(&self, key: Key, ends: Traits) -> Option<usize> {
        match self.find(key, ends) {
            Place::At(at) => Some(at),
            Place::Nowhere | Place::Around => None,
        }
    }

    pub(super) fn generate_implied_end_tags(&mut self, except: Option<Key>) {
        while self.top().has_any_of(Traits::IMPLIED_END) && except.is_none_or(|except| !self.top_is(except)) {
            self.pop();
        }
    }
}

fn last<T>(all: &[T; RUN], is: impl Fn(&T) -> bool) -> Option<usize> {
    let count: u32 = all.iter().map(|one| u32::from(is(one))).fold(0, u32::wrapping_add);
    if count > 0 { all.iter().rposition(is) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    const TRAITS: [Traits; 4] = [Traits::HTML, Traits::SCOPE, Traits::SPECIAL, Traits::MODE];

    #[derive(Clone, Debug)]
    enum Change {
        Push(u32, Traits),
        Truncate(Index),
        Remove(Index, usize),
        Replace(Index, u32, Traits),
    }

    fn change() -> BoxedStrategy<Change> {
        let (name, traits) = (|| 0_u32..40, || select(&TRAITS[..]));
        prop_oneof![
            30 => (name(), traits()).prop_map(|(name, traits)| Change::Push(name, traits)),
            1 => any::<Index>().prop_map(Change::Truncate),
            2 => (any::<Index>(), 1_usize..4).prop_map(|(at, count)| Change::Remove(at, count)),
            2 => (any::<Index>(), name(), traits()).prop_map(|(at, name, traits)| Change::Replace(at, name, traits)),
        ]
        .boxed()
    }

    /// Names of which some share a bit.
    fn key(name: u32) -> Key {
        Key((name << 25) | 2)
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_a_plain_search_finds(changes in vec(change(), 0..300)) {
            let (mut open, mut plain) = (OpenElements::default(), Vec::new());
            for change in changes {
                match change {
                    Change::Push(name, traits) => {
                        open.push(key(name), traits);
                        plain.push((key(name), traits));
                    }
                    Change::Truncate(len) => {
                        let len = len.index(plain.len() + 1);
                        open.truncate(len);
                        plain.truncate(len);
                    }
                    Change::Remove(at, count) => {
                        let at = at.index(plain.len() + 1);
                        let end = (at + count).min(plain.len());
                        open.remove_all(at..end);
                        plain.drain(at..end);
                    }
                    Change::Replace(at, name, traits) if !plain.is_empty() => {
                        let at = at.index(plain.len());
                        open.replace(at, key(name), traits);
                        plain[at] = (key(name), traits);
                    }
                    Change::Replace(..) => {}
                }
                for wanted in TRAITS {
                    prop_assert_eq!(open.last_with(wanted), plain.iter().rposition(|(_, traits)| *traits == wanted));
                }
                let from = plain.len() / 2;
                for wanted in (0..40).map(key) {
                    let found = plain.iter().rposition(|(key, _)| *key == wanted);
                    prop_assert_eq!(open.last_named(wanted, 0), found);
                    prop_assert_eq!(open.last_named(wanted, from), found.filter(|at| *at >= from));
                }
            }
        }
    }
}
