//! The stack of open elements (HTML Standard, section 13.2.4.2), which is searched many elements at once.

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
    elements: Vec<Open>,
    /// What is in each whole [`RUN`] of them: few are that deep.
    runs: Vec<Run>,
    pub(super) formatting: Formatting,
    pub(super) is_too_deep: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    key: Key,
    traits: Traits,
}

/// What some of its elements may be.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    traits: Traits,
    /// One bit for each name, which others may share.
    keys: u64,
}

impl Run {
    fn of(elements: &[Open]) -> Self {
        let mut run = Self::default();
        elements.iter().for_each(|open| run.add(*open));
        run
    }

    fn add(&mut self, open: Open) {
        self.traits = self.traits.and(open.traits);
        self.keys |= open.key.bit();
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
        self.elements.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    pub(super) fn clear(&mut self) {
        self.elements.clear();
        self.runs.clear();
        self.formatting.clear();
    }

    pub(super) fn push(&mut self, key: Key, traits: Traits) {
        if self.elements.len() >= MAX_DEPTH {
            self.is_too_deep = true;
            return;
        }
        self.elements.push(Open { key, traits });
        if self.elements.len().is_multiple_of(RUN) {
            self.sum_up(self.runs.len());
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        let closed = self.elements.get(len..).unwrap_or_default();
        let listed = closed.iter().filter(|open| open.traits.has_any_of(Traits::LISTED)).count();
        self.formatting.close(len, listed);
        self.elements.truncate(len);
        self.runs.truncate(len / RUN);
    }

    pub(super) fn pop(&mut self) {
        self.truncate(self.elements.len().saturating_sub(1));
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.remove_all(at..at.saturating_add(1));
    }

    pub(super) fn remove_all(&mut self, places: Range<usize>) {
        if places.is_empty() || places.end > self.elements.len() {
            return;
        }
        self.formatting.shift(places.end, places.len());
        let first = places.start / RUN;
        self.elements.drain(places);
        self.sum_up(first);
    }

    /// The whole runs from this one on.
    fn sum_up(&mut self, first: usize) {
        self.runs.truncate(first);
        self.runs.extend(self.elements.chunks_exact(RUN).skip(first).map(Run::of));
    }

    pub(super) fn replace(&mut self, at: usize, key: Key, traits: Traits) {
        let open = Open { key, traits };
        if let Some(slot) = self.elements.get_mut(at) {
            *slot = open;
        }
        if let Some(run) = self.runs.get_mut(at / RUN) {
            run.add(open);
        }
    }

    pub(super) fn unlist(&mut self, at: usize) {
        if let Some(open) = self.elements.get_mut(at) {
            open.traits = open.traits.without(Traits::LISTED);
        }
    }

    /// What is known of the current node.
    pub(super) fn top(&self) -> Traits {
        self.elements.last().map_or(Traits::HTML, |open| open.traits)
    }

    pub(super) fn top_is(&self, key: Key) -> bool {
        self.elements.last().is_some_and(|open| open.key == key)
    }

    pub(super) fn key(&self, at: usize) -> Option<Key> {
        self.elements.get(at).map(|open| open.key)
    }

    pub(super) fn traits(&self, at: usize) -> Traits {
        self.elements.get(at).map(|open| open.traits).unwrap_or_default()
    }

    pub(super) fn first_with(&self, any_of: Traits, from: usize) -> Option<usize> {
        let at = self.elements.get(from..)?.iter().position(|open| open.traits.has_any_of(any_of))?;
        Some(from.saturating_add(at))
    }

    pub(super) fn last_with(&self, any_of: Traits) -> Option<usize> {
        self.last(0, |run| run.traits.has_any_of(any_of), |open| open.traits.has_any_of(any_of))
    }

    fn last_named(&self, key: Key, from: usize) -> Option<usize> {
        self.last(from, |run| run.keys & key.bit() != 0, |open| open.key == key)
    }

    /// Each run is looked through without a branch for each element, and most runs not at all.
    fn last(
        &self,
        from: usize,
        may_have: impl Fn(&Run) -> bool,
        is: impl Fn(&Open) -> bool,
    ) -> Option<usize> {
        for (index, elements) in self.elements.chunks(RUN).enumerate().skip(from / RUN).rev() {
            if self.runs.get(index).is_none_or(&may_have)
                && elements.iter().fold(false, |any, open| any | is(open))
            {
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
        while self.top().has_any_of(Traits::IMPLIED_END) && except.is_none_or(|except| !self.top_is(except)) {
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
