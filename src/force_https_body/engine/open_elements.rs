//! The stack of open elements (HTML Standard, section 13.2.4.2), in arrays that are searched many elements at once.

use std::ops::Range;

use super::elements::Traits;
use super::formatting::Formatting;
use super::name::{Name, hash};

/// The name of an element, and whether it is one of HTML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    keys: Vec<Key>,
    traits: Vec<Traits>,
    /// One for each [`RUN`] of the others.
    runs: Vec<Run>,
    pub(super) formatting: Formatting,
    pub(super) is_too_deep: bool,
}

/// What some of so many elements may be.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    traits: Traits,
    /// One bit for each name, which others may share.
    keys: u64,
}

impl Run {
    fn add(&mut self, key: Key, traits: Traits) {
        self.traits = self.traits.and(traits);
        self.keys |= key.bit();
    }
}

const RUN: usize = 32;

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
        self.keys.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.traits.clear();
        self.runs.clear();
        self.formatting.clear();
    }

    pub(super) fn push(&mut self, key: Key, traits: Traits) {
        let len = self.keys.len();
        if len >= MAX_DEPTH {
            self.is_too_deep = true;
            return;
        }
        if len.is_multiple_of(RUN) {
            self.runs.push(Run::default());
        }
        if let Some(run) = self.runs.last_mut() {
            run.add(key, traits);
        }
        self.keys.push(key);
        self.traits.push(traits);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        let closed = self.traits.get(len..).unwrap_or_default();
        let listed = closed.iter().filter(|traits| traits.has_any_of(Traits::LISTED)).count();
        self.formatting.close(len, listed);
        self.keys.truncate(len);
        self.traits.truncate(len);
        self.runs.truncate(len.div_ceil(RUN));
    }

    pub(super) fn pop(&mut self) {
        self.truncate(self.keys.len().saturating_sub(1));
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.remove_all(at..at.saturating_add(1));
    }

    pub(super) fn remove_all(&mut self, places: Range<usize>) {
        if places.is_empty() || places.end > self.keys.len() {
            return;
        }
        self.formatting.shift(places.end, places.len());
        self.keys.drain(places.clone());
        self.traits.drain(places);
        self.runs.clear();
        for (keys, traits) in self.keys.chunks(RUN).zip(self.traits.chunks(RUN)) {
            let mut run = Run::default();
            keys.iter().zip(traits).for_each(|(key, traits)| run.add(*key, *traits));
            self.runs.push(run);
        }
    }

    pub(super) fn replace(&mut self, at: usize, key: Key, traits: Traits) {
        if let Some(slot) = self.keys.get_mut(at) {
            *slot = key;
        }
        if let Some(slot) = self.traits.get_mut(at) {
            *slot = traits;
        }
        if let Some(run) = self.runs.get_mut(at / RUN) {
            run.add(key, traits);
        }
    }

    pub(super) fn unlist(&mut self, at: usize) {
        if let Some(traits) = self.traits.get_mut(at) {
            *traits = traits.without(Traits::LISTED);
        }
    }

    /// What is known of the current node.
    pub(super) fn top(&self) -> Traits {
        self.traits.last().copied().unwrap_or(Traits::HTML)
    }

    pub(super) fn top_is(&self, key: Key) -> bool {
        self.keys.last() == Some(&key)
    }

    pub(super) fn key(&self, at: usize) -> Option<Key> {
        self.keys.get(at).copied()
    }

    pub(super) fn traits(&self, at: usize) -> Traits {
        self.traits.get(at).copied().unwrap_or_default()
    }

    pub(super) fn first_with(&self, any_of: Traits, from: usize) -> Option<usize> {
        let at = self.traits.get(from..)?.iter().position(|traits| traits.has_any_of(any_of))?;
        Some(from.saturating_add(at))
    }

    pub(super) fn last_with(&self, any_of: Traits) -> Option<usize> {
        let may_have = |run: &Run| run.traits.has_any_of(any_of);
        self.last(&self.traits, 0, may_have, |traits| traits.has_any_of(any_of))
    }

    fn last_named(&self, key: Key, from: usize) -> Option<usize> {
        let may_have = |run: &Run| run.keys & key.bit() != 0;
        self.last(&self.keys, from, may_have, |open| *open == key)
    }

    /// Each run is looked through without a branch for each element, and most runs not at all.
    fn last<T>(
        &self,
        elements: &[T],
        from: usize,
        may_have: impl Fn(&Run) -> bool,
        is: impl Fn(&T) -> bool,
    ) -> Option<usize> {
        let runs = elements.chunks(RUN).zip(&self.runs).enumerate().skip(from / RUN).rev();
        for (index, (elements, _)) in runs.filter(|(_, (_, run))| may_have(run)) {
            if elements.iter().fold(false, |any, element| any | is(element)) {
                let at = elements.iter().rposition(is)?.saturating_add(index.saturating_mul(RUN));
                return Some(at).filter(|at| *at >= from);
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
        while self.top().has_any_of(Traits::IMPLIED_END) && self.keys.last().copied() != except {
            self.pop();
        }
    }
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
        Key(name << 25)
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
