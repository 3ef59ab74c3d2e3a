//! The list of active formatting elements (HTML Standard, section 13.2.4.3), and the adoption agency.

use super::elements::Traits;
use super::open_elements::{Key, MAX_DEPTH, OpenElements};

#[derive(Debug, Default)]
pub(super) struct Formatting {
    list: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Marker,
    /// Where it stands in the stack, if it is open.
    Element {
        key: Key,
        at: Option<usize>,
    },
}

impl Entry {
    fn is(&self, wanted: Key) -> bool {
        matches!(self, Self::Element { key, .. } if *key == wanted)
    }

    fn is_closed(&self) -> bool {
        matches!(self, Self::Element { at: None, .. })
    }

    fn place_mut(&mut self) -> Option<&mut usize> {
        match self {
            Self::Element { at, .. } => at.as_mut(),
            Self::Marker => None,
        }
    }
}

impl Formatting {
    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    /// The stack was cut to this length; so many entries of the list were behind.
    pub(super) fn close(&mut self, len: usize, mut count: usize) {
        for entry in self.list.iter_mut().rev() {
            if count == 0 {
                return;
            }
            if let Entry::Element { at, .. } = entry
                && at.is_some_and(|at| at >= len)
            {
                *at = None;
                count = count.saturating_sub(1);
            }
        }
    }

    /// So many elements before this place are gone from the stack.
    pub(super) fn shift(&mut self, from: usize, by: usize) {
        for place in self.list.iter_mut().filter_map(Entry::place_mut) {
            if *place >= from {
                *place = place.saturating_sub(by);
            }
        }
    }

    fn behind_last_marker(&self) -> usize {
        let marker = self.list.iter().rposition(|entry| matches!(entry, Entry::Marker));
        marker.map_or(0, |marker| marker.saturating_add(1))
    }

    fn find(&self, key: Key) -> Option<usize> {
        let from = self.behind_last_marker();
        let entries = self.list.get(from..)?;
        entries.iter().rposition(|entry| entry.is(key)).map(|index| from.saturating_add(index))
    }

    fn place(&mut self, index: usize, place: usize) {
        if let Some(Entry::Element { at, .. }) = self.list.get_mut(index) {
            *at = Some(place);
        }
    }

    fn move_behind(&mut self, index: usize, other: usize) {
        let (first, last) = (index.min(other.saturating_add(1)), index.max(other));
        if let Some(between) = self.list.get_mut(first..=last) {
            if index > other { between.rotate_right(1) } else { between.rotate_left(1) }
        }
    }

    fn index_of(&self, place: usize) -> Option<usize> {
        self.list
            .iter()
            .rposition(|entry| matches!(entry, Entry::Element { at: Some(at), .. } if *at == place))
    }
}

impl OpenElements {
    /// Whether what comes next opens elements again that were closed.
    pub(super) fn has_closed_formatting(&self) -> bool {
        self.formatting.list.last().is_some_and(Entry::is_closed)
    }

    pub(super) fn mark_formatting(&mut self) {
        self.list(Entry::Marker);
    }

    pub(super) fn clear_formatting_to_marker(&mut self) {
        while let Some(Entry::Element { at, .. }) = self.formatting.list.pop() {
            if let Some(at) = at {
                self.unlist(at);
            }
        }
    }

    /// Of one name there are three at most: two with other attributes count as one.
    pub(super) fn push_formatting(&mut self, key: Key) {
        let from = self.formatting.behind_last_marker();
        let mut same =
            (from..).zip(self.formatting.list.iter().skip(from)).filter(|(_, entry)| entry.is(key));
        if let Some((first, _)) = same.next()
            && same.count() >= 2
        {
            self.unlist_entry(first);
        }
        self.open_formatting(key);
        let at = self.len().checked_sub(1);
        self.list(Entry::Element { key, at });
    }

    pub(super) fn reconstruct_formatting(&mut self) {
        if !self.has_closed_formatting() {
            return;
        }
        let open = self.formatting.list.iter().rposition(|entry| !entry.is_closed());
        let mut index = open.map_or(0, |open| open.saturating_add(1));
        while let Some(Entry::Element { key, .. }) = self.formatting.list.get(index).copied() {
            if self.is_too_deep {
                return;
            }
            let place = self.len();
            self.open_formatting(key);
            self.formatting.place(index, place);
            index = index.saturating_add(1);
        }
    }

    /// The adoption agency. False: any other end tag of this name would do the same.
    pub(super) fn end_formatting(&mut self, key: Key) -> bool {
        if self.top_is(key) && !self.top().has_any_of(Traits::LISTED) {
            self.pop();
            return true;
        }
        for _ in 0..8 {
            let Some(index) = self.formatting.find(key) else { return false };
            let Some(Entry::Element { at: Some(at), .. }) = self.formatting.list.get(index).copied() else {
                self.unlist_entry(index);
                return true;
            };
            if self.last_with(Traits::SCOPE).is_some_and(|scope| scope > at) {
                return true;
            }
            let Some(block) = self.first_with(Traits::SPECIAL, at) else {
                self.unlist_entry(index);
                self.truncate(at);
                return true;
            };
            self.adopt(key, at, block);
        }
        true
    }

    /// An `a` ends the one that is open. Where the adoption agency cannot reach that, it is let go.
    pub(super) fn end_formatting_for_good(&mut self, key: Key) {
        let Some(index) = self.formatting.find(key) else { return };
        let Some(Entry::Element { at, .. }) = self.formatting.list.get(index).copied() else { return };
        let is_another_on_top = self.top_is(key) && !self.top().has_any_of(Traits::LISTED);
        let is_out_of_scope =
            at.is_some_and(|at| self.last_with(Traits::SCOPE).is_some_and(|scope| scope > at));
        if is_another_on_top || is_out_of_scope {
            self.unlist_entry(index);
            if let Some(at) = at {
                self.remove(at);
            }
            if is_another_on_top {
                self.pop();
            }
        } else {
            self.end_formatting(key);
        }
    }

    /// The formatting element moves behind the block. Of the elements between them only the three nearest to the block
    /// stay, if they are formatting, too.
    fn adopt(&mut self, key: Key, from: usize, block: usize) {
        let nearest = from.saturating_add(1).max(block.saturating_sub(3));
        for at in from.saturating_add(1)..nearest {
            self.unlist_open(at);
        }
        let Some(index) = self.formatting.find(key) else { return };
        let (mut to, mut last_kept) = (from, None);
        for at in nearest..block {
            if self.traits(at).has_any_of(Traits::LISTED)
                && let Some(kept) = self.formatting.index_of(at)
            {
                self.copy(at, to);
                self.formatting.place(kept, to);
                (to, last_kept) = (to.saturating_add(1), Some(kept));
            }
        }
        self.copy(block, to);
        to = to.saturating_add(1);
        self.replace(to, key, Traits::FORMATTING);
        self.formatting.place(index, to);
        self.remove_all(to.saturating_add(1)..block.saturating_add(1));
        if let Some(kept) = last_kept {
            self.formatting.move_behind(index, kept);
        }
    }

    fn unlist_open(&mut self, at: usize) {
        if self.traits(at).has_any_of(Traits::LISTED)
            && let Some(index) = self.formatting.index_of(at)
        {
            self.unlist_entry(index);
        }
    }

    fn open_formatting(&mut self, key: Key) {
        self.push(key, Traits::FORMATTING);
    }

    fn list(&mut self, entry: Entry) {
        if self.formatting.list.len() >= MAX_DEPTH {
            self.is_too_deep = true;
            return;
        }
        self.formatting.list.push(entry);
    }

    fn unlist_entry(&mut self, index: usize) {
        if index < self.formatting.list.len()
            && let Entry::Element { at: Some(at), .. } = self.formatting.list.remove(index)
        {
            self.unlist(at);
        }
    }
}
