//! The stack of open elements (HTML Standard, section 13.2.4.2), in arrays that are searched many elements at once.

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
}

/// The elements that are open from the outermost `svg` or `math` on, those of HTML inside of it included.
#[derive(Debug, Default)]
pub(super) struct OpenElements {
    pub(super) keys: Vec<Key>,
    pub(super) traits: Vec<Traits>,
    pub(super) formatting: Formatting,
    pub(super) is_too_deep: bool,
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
        self.keys.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.traits.clear();
        self.formatting.clear();
    }

    pub(super) fn push(&mut self, key: Key, traits: Traits) {
        if self.keys.len() >= MAX_DEPTH {
            self.is_too_deep = true;
            return;
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
    }

    pub(super) fn pop(&mut self) {
        self.truncate(self.keys.len().saturating_sub(1));
    }

    pub(super) fn remove(&mut self, at: usize) {
        if at < self.keys.len() {
            self.keys.remove(at);
            self.traits.remove(at);
            self.formatting.shift(at, 1);
        }
    }

    /// What is known of the current node.
    pub(super) fn top(&self) -> Traits {
        self.traits.last().copied().unwrap_or_default()
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

    pub(super) fn all_traits(&self) -> &[Traits] {
        &self.traits
    }

    pub(super) fn last_with(&self, any_of: Traits) -> Option<usize> {
        last(&self.traits, |traits| traits.has_any_of(any_of))
    }

    pub(super) fn has(&self, key: Key) -> bool {
        last(&self.keys, |open| *open == key).is_some()
    }

    /// The nearest element of this name, unless one that `ends` the search is further in.
    pub(super) fn find(&self, key: Key, ends: Traits) -> Place {
        let end = self.last_with(ends);
        let from = end.unwrap_or(0);
        match last(self.keys.get(from..).unwrap_or_default(), |open| *open == key) {
            Some(at) => Place::At(from.saturating_add(at)),
            None if end.is_some() => Place::Nowhere,
            None => Place::Around,
        }
    }

    /// The nearest element of this name with none of HTML further in, of which there is none in XML.
    pub(super) fn find_foreign(&self, key: Key, is_xml: bool) -> Option<usize> {
        let is_html = |traits: &Traits| !is_xml && !traits.has_any_of(Traits::FOREIGN);
        let from = last(&self.traits, is_html).map_or(0, |html| html.saturating_add(1));
        let at = last(self.keys.get(from..)?, |open| *open == key)?;
        Some(from.saturating_add(at))
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

/// The last item that `is`: whole runs are looked through without a branch for each.
pub(super) fn last<T>(items: &[T], is: impl Fn(&T) -> bool) -> Option<usize> {
    const RUN: usize = 32;
    let mut behind = items.len();
    for run in items.rchunks(RUN) {
        behind = behind.saturating_sub(run.len());
        if run.iter().fold(false, |any, item| any | is(item)) {
            return run.iter().rposition(is).map(|at| behind.saturating_add(at));
        }
    }
    None
}
