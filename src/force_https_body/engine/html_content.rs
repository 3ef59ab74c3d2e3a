//! What the tags of HTML that stand in foreign content do to the open elements (HTML Standard, section 13.2.6.4).

use super::elements::{Traits, is_block, is_formatting, is_of_table};
use super::keys::*;
use super::open_elements::{Key, OpenElements, Place};

const LIST_SCOPE: Traits = Traits::SCOPE.and(Traits::LIST_SCOPE);
const BUTTON_SCOPE: Traits = Traits::SCOPE.and(Traits::BUTTON_SCOPE);

/// The open elements, and what else a parser keeps of them.
#[derive(Debug, Default)]
pub(super) struct HtmlContent {
    pub(super) open: OpenElements,
    /// Of the `template` elements that are open.
    template_modes: Vec<Mode>,
    has_form: bool,
}

/// The insertion modes that differ in what they open and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// That of the page around: in no table that is known.
    Around,
    Body,
    Table,
    Caption,
    ColumnGroup,
    TableBody,
    Row,
    Cell,
    Template,
}

/// What a tag did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// A start tag for which there is no element.
    Ignored,
    /// If it closes anything, then an element around the outermost `svg` or `math`.
    ReachesOut,
}

impl HtmlContent {
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.template_modes.clear();
        self.has_form = false;
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.open.truncate(len);
        if len == 0 {
            self.clear();
        }
    }

    /// Whether text may change what is open.
    pub(super) fn is_changed_by_text(&self) -> bool {
        self.open.has_closed_formatting() || self.open.top_is(COLGROUP)
    }

    /// Text of HTML, which may open formatting elements again that were closed, and ends a group of columns.
    pub(super) fn text(&mut self, piece: &[u8]) {
        let is_blank = piece.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0);
        match self.mode() {
            Mode::ColumnGroup if is_blank => {}
            Mode::ColumnGroup if self.open.top_is(COLGROUP) => {
                self.open.pop();
                self.text(piece);
            }
            Mode::ColumnGroup => {}
            Mode::Table | Mode::TableBody | Mode::Row
                if is_blank && self.open.top().has_any_of(Traits::MODE) => {}
            _ if piece.iter().all(|byte| *byte == 0) => {}
            _ => self.open.reconstruct_formatting(),
        }
    }

    fn mode(&self) -> Mode {
        let Some(key) = self.open.last_with(Traits::MODE).and_then(|at| self.open.key(at)) else {
            return Mode::Around;
        };
        match key {
            TEMPLATE => self.template_modes.last().copied().unwrap_or(Mode::Body),
            TABLE => Mode::Table,
            CAPTION => Mode::Caption,
            COLGROUP => Mode::ColumnGroup,
            TR => Mode::Row,
            TD | TH => Mode::Cell,
            _ => Mode::TableBody,
        }
    }

    /// All in the element that decides on the mode is closed.
    fn clear_to_mode(&mut self) {
        let at = self.open.last_with(Traits::MODE);
        self.open.truncate(at.map_or(0, |at| at.saturating_add(1)));
    }

    /// The element that decides on the mode is closed.
    fn close_mode(&mut self) {
        let at = self.open.last_with(Traits::MODE);
        self.open.truncate(at.unwrap_or(0));
    }

    fn close_marked_mode(&mut self) {
        self.close_mode();
        self.open.clear_formatting_to_marker();
    }

    fn is_in_table_scope(&self, key: Key) -> bool {
        self.open.in_scope(key, Traits::TABLE_SCOPE).is_some()
    }

    fn push(&mut self, key: Key) {
        self.open.push(key, Traits::of_html(key));
    }

    /// A start tag that opens an element of HTML, an `svg`, or a `math`; the last two are left to be opened.
    pub(super) fn start_tag(&mut self, key: Key) -> Outcome {
        while !self.open.is_too_deep {
            match (self.mode(), key) {
                (Mode::Around, _) if is_of_table(key) => return Outcome::ReachesOut,
                (Mode::Body | Mode::Around, _) => self.start_tag_in_body(key),
                (
                    Mode::Template,
                    BASE | BASEFONT | BGSOUND | LINK | META | NOFRAMES | SCRIPT | STYLE | TEMPLATE | TITLE,
                ) => self.start_tag_in_body(key),
                (Mode::Template, _) => {
                    let mode = match key {
                        CAPTION | COLGROUP | TBODY | TFOOT | THEAD => Mode::Table,
                        COL => Mode::ColumnGroup,
                        TR => Mode::TableBody,
                        TD | TH => Mode::Row,
                        _ => Mode::Body,
                    };
                    self.template_modes.pop();
                    self.template_modes.push(mode);
                    continue;
                }
                (Mode::Cell | Mode::Caption, _) if is_of_table(key) => {
                    self.close_marked_mode();
                    continue;
                }
                (Mode::Cell | Mode::Caption, _) => self.start_tag_in_body(key),
                (Mode::ColumnGroup, COL | HTML) => {}
                (Mode::ColumnGroup, TEMPLATE) => self.start_tag_in_body(key),
                (Mode::ColumnGroup, _) if self.open.top_is(COLGROUP) => {
                    self.open.pop();
                    continue;
                }
                (Mode::ColumnGroup, _) => return Outcome::Ignored,
                (Mode::Row, TD | TH) => self.push_marked_cell(key),
                (Mode::Row, _) if is_of_table(key) => {
                    if !self.is_in_table_scope(TR) {
                        return Outcome::Done;
                    }
                    self.close_mode();
                    continue;
                }
                (Mode::TableBody, TR) => {
                    self.clear_to_mode();
                    self.push(key);
                }
                (Mode::TableBody, TD | TH) => {
                    self.clear_to_mode();
                    self.push(TR);
                    continue;
                }
                (Mode::TableBody, _) if is_of_table(key) => {
                    if ![TBODY, THEAD, TFOOT].into_iter().any(|key| self.is_in_table_scope(key)) {
                        return Outcome::Done;
                    }
                    self.close_mode();
                    continue;
                }
                (_, CAPTION) => self.push_marked_cell(key),
                (_, COLGROUP | TBODY | TFOOT | THEAD) => {
                    self.clear_to_mode();
                    self.push(key);
                }
                (_, COL) => {
                    self.clear_to_mode();
                    self.push(COLGROUP);
                }
                (_, TD | TH | TR) => {
                    self.clear_to_mode();
                    self.push(TBODY);
                    continue;
                }
                (_, TABLE) => match self.open.in_scope(TABLE, Traits::TABLE_SCOPE) {
                    Some(at) => {
                        self.open.truncate(at);
                        continue;
                    }
                    None => return Outcome::Done,
                },
                (_, FORM) => self.has_form |= !self.open.has(TEMPLATE),
                _ => self.start_tag_in_body(key),
            }
            break;
        }
        Outcome::Done
    }

    fn push_marked_cell(&mut self, key: Key) {
        self.clear_to_mode();
        self.push(key);
        self.open.mark_formatting();
    }

    fn start_tag_in_body(&mut self, key: Key) {
        match key {
            BASE | BASEFONT | BGSOUND | BODY | FRAME | FRAMESET | HEAD | HTML | IFRAME | LINK | META
            | NOEMBED | NOFRAMES | NOSCRIPT | PARAM | SCRIPT | SOURCE | STYLE | TEXTAREA | TITLE | TRACK => {}
            _ if is_of_table(key) => {}
            AREA | BR | EMBED | IMAGE | IMG | KEYGEN | WBR | MATH | SVG => {
                self.open.reconstruct_formatting();
            }
            A => {
                self.open.end_formatting_for_good(key);
                self.push_formatting(key);
            }
            NOBR => {
                self.open.reconstruct_formatting();
                if self.open.in_scope(NOBR, Traits::SCOPE).is_some() {
                    self.end_formatting(NOBR);
                }
                self.push_formatting(key);
            }
            _ if is_formatting(key) => self.push_formatting(key),
            // That a table leaves a paragraph open in quirks mode is not known.
            _ if key == P || key == TABLE || is_block(key) => {
                self.close_paragraph();
                self.push(key);
            }
            H1 | H2 | H3 | H4 | H5 | H6 => {
                self.close_paragraph();
                if self.open.top().has_any_of(Traits::HEADING) {
                    self.open.pop();
                }
                self.push(key);
            }
            LI => self.start_item(key, &[LI]),
            DD | DT => self.start_item(key, &[DD, DT]),
            PLAINTEXT => self.close_paragraph(),
            XMP => {
                self.close_paragraph();
                self.open.reconstruct_formatting();
            }
            HR => {
                self.close_paragraph();
                if self.open.in_scope(SELECT, Traits::SCOPE).is_some() {
                    self.open.generate_implied_end_tags(None);
                }
            }
            FORM => self.start_form(key),
            BUTTON => {
                self.close_in_scope(BUTTON);
                self.push_ordinary(key);
            }
            APPLET | MARQUEE | OBJECT => {
                self.push_ordinary(key);
                self.open.mark_formatting();
            }
            INPUT => {
                self.close_in_scope(SELECT);
                self.open.reconstruct_formatting();
            }
            SELECT => {
                if !self.close_in_scope(SELECT) {
                    self.push_ordinary(key);
                }
            }
            OPTION | OPTGROUP => {
                if self.open.in_scope(SELECT, Traits::SCOPE).is_some() {
                    self.open.generate_implied_end_tags(Some(OPTGROUP).filter(|_| key == OPTION));
                } else if self.open.top_is(OPTION) {
                    self.open.pop();
                }
                self.push_ordinary(key);
            }
            RB | RP | RT | RTC => {
                if self.open.in_scope(RUBY, Traits::SCOPE).is_some() {
                    self.open.generate_implied_end_tags(Some(RTC).filter(|_| key == RP || key == RT));
                }
                self.push(key);
            }
            TEMPLATE => {
                self.open.mark_formatting();
                self.push(key);
                self.template_modes.push(Mode::Template);
            }
            _ => self.push_ordinary(key),
        }
    }

    pub(super) fn push_ordinary(&mut self, key: Key) {
        self.open.reconstruct_formatting();
        self.push(key);
    }

    fn push_formatting(&mut self, key: Key) {
        self.open.reconstruct_formatting();
        self.open.push_formatting(key);
    }

    fn close_paragraph(&mut self) {
        if let Some(at) = self.open.in_scope(P, BUTTON_SCOPE) {
            self.open.truncate(at);
        }
    }

    fn close_in_scope(&mut self, key: Key) -> bool {
        let at = self.open.in_scope(key, Traits::SCOPE);
        if let Some(at) = at {
            self.open.truncate(at);
        }
        at.is_some()
    }

    /// It ends the item of a list that is open, unless it is further out than a list.
    fn start_item(&mut self, key: Key, items: &[Key]) {
        let found = items.iter().filter_map(|item| self.open.in_scope(*item, Traits::ITEM_SCOPE)).max();
        if let Some(at) = found {
            self.open.truncate(at);
        }
        self.close_paragraph();
        self.push(key);
    }

    fn start_form(&mut self, key: Key) {
        let is_in_template = self.open.has(TEMPLATE);
        if self.has_form && !is_in_template {
            return;
        }
        self.close_paragraph();
        let traits = Traits::of_html(key);
        let is_pointed_at = if is_in_template { Traits::default() } else { Traits::FORM };
        self.has_form |= !is_in_template;
        self.open.push(FORM, traits.and(is_pointed_at));
    }

    pub(super) fn end_tag(&mut self, key: Key) -> Outcome {
        loop {
            match (self.mode(), key) {
                (Mode::Around, COL | COLGROUP) => {}
                (Mode::Around, TABLE) => return Outcome::ReachesOut,
                (Mode::Around, _) if is_of_table(key) => return Outcome::ReachesOut,
                (_, TEMPLATE) | (Mode::Body | Mode::Around, _) => return self.end_tag_in_body(key),
                (Mode::Template, _) => {}
                (Mode::Cell, TD | TH) => {
                    if self.is_in_table_scope(key) {
                        self.close_marked_mode();
                    }
                }
                (Mode::Cell, TABLE | TBODY | TFOOT | THEAD | TR) => {
                    if !self.is_in_table_scope(key) {
                        return Outcome::Done;
                    }
                    self.close_marked_mode();
                    continue;
                }
                (Mode::Caption, CAPTION) => self.close_marked_mode(),
                (Mode::Caption, TABLE) => {
                    self.close_marked_mode();
                    continue;
                }
                (Mode::ColumnGroup, COL) => {}
                (Mode::ColumnGroup, _) if self.open.top_is(COLGROUP) => {
                    self.open.pop();
                    if key != COLGROUP {
                        continue;
                    }
                }
                (Mode::ColumnGroup, _) => {}
                (Mode::Row, TR) if self.is_in_table_scope(TR) => self.close_mode(),
                (Mode::Row, TABLE | TBODY | TFOOT | THEAD) => {
                    let is_open = key == TABLE || self.is_in_table_scope(key);
                    if !(is_open && self.is_in_table_scope(TR)) {
                        return Outcome::Done;
                    }
                    self.close_mode();
                    continue;
                }
                (Mode::TableBody, TBODY | TFOOT | THEAD) => {
                    if self.is_in_table_scope(key) {
                        self.close_mode();
                    }
                }
                (Mode::TableBody, TABLE) => {
                    if ![TBODY, THEAD, TFOOT].into_iter().any(|key| self.is_in_table_scope(key)) {
                        return Outcome::Done;
                    }
                    self.close_mode();
                    continue;
                }
                (_, TABLE) => {
                    if let Some(at) = self.open.in_scope(TABLE, Traits::TABLE_SCOPE) {
                        self.open.truncate(at);
                    }
                }
                _ if is_of_table(key) => {}
                _ => return self.end_tag_in_body(key),
            }
            return Outcome::Done;
        }
    }

    fn end_tag_in_body(&mut self, key: Key) -> Outcome {
        match key {
            BODY | HTML => Outcome::Done,
            BR => {
                self.open.reconstruct_formatting();
                Outcome::Done
            }
            TEMPLATE => match self.open.find(TEMPLATE, Traits::default()) {
                Place::At(at) => {
                    self.open.truncate(at);
                    self.open.clear_formatting_to_marker();
                    self.template_modes.pop();
                    Outcome::Done
                }
                Place::Nowhere | Place::Around => Outcome::ReachesOut,
            },
            FORM => self.end_form(),
            LI => self.end_within(key, LIST_SCOPE),
            P => self.end_within(key, BUTTON_SCOPE),
            H1 | H2 | H3 | H4 | H5 | H6 => self.end_heading(),
            APPLET | MARQUEE | OBJECT => {
                let is_open = self.open.in_scope(key, Traits::SCOPE).is_some();
                let outcome = self.end_within(key, Traits::SCOPE);
                if is_open {
                    self.open.clear_formatting_to_marker();
                }
                outcome
            }
            BUTTON | DD | DT | SELECT => self.end_within(key, Traits::SCOPE),
            _ if is_block(key) => self.end_within(key, Traits::SCOPE),
            _ if is_formatting(key) => self.end_formatting(key),
            _ => self.end_within(key, Traits::SPECIAL),
        }
    }

    fn end_within(&mut self, key: Key, ends: Traits) -> Outcome {
        match self.open.find(key, ends) {
            Place::At(at) => self.open.truncate(at),
            Place::Nowhere => {}
            Place::Around => return Outcome::ReachesOut,
        }
        Outcome::Done
    }

    fn end_heading(&mut self) -> Outcome {
        match self.open.last_with(Traits::SCOPE.and(Traits::HEADING)) {
            Some(at) if self.open.traits(at).has_any_of(Traits::HEADING) => self.open.truncate(at),
            Some(_) => {}
            None => return Outcome::ReachesOut,
        }
        Outcome::Done
    }

    fn end_formatting(&mut self, key: Key) -> Outcome {
        if self.open.end_formatting(key) {
            return Outcome::Done;
        }
        self.end_within(key, Traits::SPECIAL)
    }

    fn end_form(&mut self) -> Outcome {
        if self.open.has(TEMPLATE) {
            self.end_within(FORM, Traits::SCOPE);
        } else if std::mem::take(&mut self.has_form)
            && let Some(form) = self.open.last_with(Traits::FORM)
            && self.open.last_with(Traits::SCOPE).is_none_or(|scope| scope < form)
        {
            self.open.generate_implied_end_tags(None);
            self.open.remove(form);
        }
        Outcome::Done
    }
}
