//! What the tags of HTML that stand in foreign content do to the open elements (HTML Standard, section 13.2.6.4).

use super::elements::{Traits, is_block, is_formatting, is_of_table};
use super::name::Name;
use super::open_elements::{Key, OpenElements, Place};

const BUTTON: Key = Key::html(b"button");
const COLGROUP: Key = Key::html(b"colgroup");
const DD: Key = Key::html(b"dd");
const DT: Key = Key::html(b"dt");
const FORM: Key = Key::html(b"form");
const LI: Key = Key::html(b"li");
const NOBR: Key = Key::html(b"nobr");
const OPTGROUP: Key = Key::html(b"optgroup");
const OPTION: Key = Key::html(b"option");
const P: Key = Key::html(b"p");
const RTC: Key = Key::html(b"rtc");
const RUBY: Key = Key::html(b"ruby");
const SELECT: Key = Key::html(b"select");
const TABLE: Key = Key::html(b"table");
const TBODY: Key = Key::html(b"tbody");
const TEMPLATE: Key = Key::html(b"template");
const TH: Key = Key::html(b"th");
const TD: Key = Key::html(b"td");
const TFOOT: Key = Key::html(b"tfoot");
const THEAD: Key = Key::html(b"thead");
const TR: Key = Key::html(b"tr");
const CAPTION: Key = Key::html(b"caption");

const LIST_ITEM: Traits = Traits::SCOPE.and(Traits::LIST_SCOPE);
const IN_BUTTON: Traits = Traits::SCOPE.and(Traits::BUTTON_SCOPE);

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

    fn push(&mut self, name: &Name) {
        self.open.push(Key::of_html(name), Traits::of_html(name));
    }

    fn push_known(&mut self, name: &[u8]) {
        self.push(&Name::of(name));
    }

    /// A start tag that opens an element of HTML, an `svg`, or a `math`; the last two are left to be opened.
    pub(super) fn start_tag(&mut self, name: &Name) -> Outcome {
        let tag = name.as_bytes();
        while !self.open.is_too_deep {
            match (self.mode(), tag) {
                (Mode::Around, _) if is_of_table(name) => return Outcome::ReachesOut,
                (Mode::Body | Mode::Around, _) => self.start_tag_in_body(name),
                (
                    Mode::Template,
                    b"base" | b"basefont" | b"bgsound" | b"link" | b"meta" | b"noframes" | b"script"
                    | b"style" | b"template" | b"title",
                ) => self.start_tag_in_body(name),
                (Mode::Template, _) => {
                    let mode = match tag {
                        b"caption" | b"colgroup" | b"tbody" | b"tfoot" | b"thead" => Mode::Table,
                        b"col" => Mode::ColumnGroup,
                        b"tr" => Mode::TableBody,
                        b"td" | b"th" => Mode::Row,
                        _ => Mode::Body,
                    };
                    self.template_modes.pop();
                    self.template_modes.push(mode);
                    continue;
                }
                (Mode::Cell | Mode::Caption, _) if is_of_table(name) => {
                    self.close_marked_mode();
                    continue;
                }
                (Mode::Cell | Mode::Caption, _) => self.start_tag_in_body(name),
                (Mode::ColumnGroup, b"col" | b"html") => {}
                (Mode::ColumnGroup, b"template") => self.start_tag_in_body(name),
                (Mode::ColumnGroup, _) if self.open.top_is(COLGROUP) => {
                    self.open.pop();
                    continue;
                }
                (Mode::ColumnGroup, _) => return Outcome::Ignored,
                (Mode::Row, b"td" | b"th") => self.push_marked_cell(name),
                (Mode::Row, _) if is_of_table(name) => {
                    if !self.is_in_table_scope(TR) {
                        return Outcome::Done;
                    }
                    self.close_mode();
                    continue;
                }
                (Mode::TableBody, b"tr") => {
                    self.clear_to_mode();
                    self.push(name);
                }
                (Mode::TableBody, b"td" | b"th") => {
                    self.clear_to_mode();
                    self.push_known(b"tr");
                    continue;
                }
                (Mode::TableBody, _) if is_of_table(name) => {
                    if ![TBODY, THEAD, TFOOT].into_iter().any(|key| self.is_in_table_scope(key)) {
                        return Outcome::Done;
                    }
                    self.close_mode();
                    continue;
                }
                (_, b"caption") => self.push_marked_cell(name),
                (_, b"colgroup" | b"tbody" | b"tfoot" | b"thead") => {
                    self.clear_to_mode();
                    self.push(name);
                }
                (_, b"col") => {
                    self.clear_to_mode();
                    self.push_known(b"colgroup");
                }
                (_, b"td" | b"th" | b"tr") => {
                    self.clear_to_mode();
                    self.push_known(b"tbody");
                    continue;
                }
                (_, b"table") => match self.open.in_scope(TABLE, Traits::TABLE_SCOPE) {
                    Some(at) => {
                        self.open.truncate(at);
                        continue;
                    }
                    None => return Outcome::Done,
                },
                (_, b"form") => self.has_form |= !self.open.has(TEMPLATE),
                _ => self.start_tag_in_body(name),
            }
            break;
        }
        Outcome::Done
    }

    fn push_marked_cell(&mut self, name: &Name) {
        self.clear_to_mode();
        self.push(name);
        self.open.mark_formatting();
    }

    fn start_tag_in_body(&mut self, name: &Name) {
        match name.as_bytes() {
            b"base" | b"basefont" | b"bgsound" | b"body" | b"frame" | b"frameset" | b"head" | b"html"
            | b"iframe" | b"link" | b"meta" | b"noembed" | b"noframes" | b"noscript" | b"param"
            | b"script" | b"source" | b"style" | b"textarea" | b"title" | b"track" => {}
            _ if is_of_table(name) => {}
            b"area" | b"br" | b"embed" | b"image" | b"img" | b"keygen" | b"wbr" | b"math" | b"svg" => {
                self.open.reconstruct_formatting();
            }
            b"a" => {
                self.open.end_formatting_for_good(Key::of_html(name));
                self.push_formatting(name);
            }
            b"nobr" => {
                self.open.reconstruct_formatting();
                if self.open.in_scope(NOBR, Traits::SCOPE).is_some() {
                    self.end_formatting(NOBR);
                }
                self.push_formatting(name);
            }
            _ if is_formatting(name) => self.push_formatting(name),
            b"table" => {
                // As on pages that are not in quirks mode.
                self.close_paragraph();
                self.push(name);
            }
            b"p" => {
                self.close_paragraph();
                self.push(name);
            }
            _ if is_block(name) => {
                self.close_paragraph();
                self.push(name);
            }
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => {
                self.close_paragraph();
                if self.open.top().has_any_of(Traits::HEADING) {
                    self.open.pop();
                }
                self.push(name);
            }
            b"li" => self.start_item(name, &[LI]),
            b"dd" | b"dt" => self.start_item(name, &[DD, DT]),
            b"plaintext" => self.close_paragraph(),
            b"xmp" => {
                self.close_paragraph();
                self.open.reconstruct_formatting();
            }
            b"hr" => {
                self.close_paragraph();
                if self.open.in_scope(SELECT, Traits::SCOPE).is_some() {
                    self.open.generate_implied_end_tags(None);
                }
            }
            b"form" => self.start_form(name),
            b"button" => {
                self.close_in_scope(BUTTON);
                self.push_ordinary(name);
            }
            b"applet" | b"marquee" | b"object" => {
                self.push_ordinary(name);
                self.open.mark_formatting();
            }
            b"input" => {
                self.close_in_scope(SELECT);
                self.open.reconstruct_formatting();
            }
            b"select" => {
                if !self.close_in_scope(SELECT) {
                    self.push_ordinary(name);
                }
            }
            b"option" | b"optgroup" => {
                if self.open.in_scope(SELECT, Traits::SCOPE).is_some() {
                    self.open.generate_implied_end_tags(Some(OPTGROUP).filter(|_| name.is(b"option")));
                } else if self.open.top_is(OPTION) {
                    self.open.pop();
                }
                self.push_ordinary(name);
            }
            b"rb" | b"rp" | b"rt" | b"rtc" => {
                if self.open.in_scope(RUBY, Traits::SCOPE).is_some() {
                    self.open
                        .generate_implied_end_tags(Some(RTC).filter(|_| name.is(b"rp") || name.is(b"rt")));
                }
                self.push(name);
            }
            b"template" => {
                self.open.mark_formatting();
                self.push(name);
                self.template_modes.push(Mode::Template);
            }
            _ => self.push_ordinary(name),
        }
    }

    pub(super) fn push_ordinary(&mut self, name: &Name) {
        self.open.reconstruct_formatting();
        self.push(name);
    }

    fn push_formatting(&mut self, name: &Name) {
        self.open.reconstruct_formatting();
        self.open.push_formatting(Key::of_html(name));
    }

    fn close_paragraph(&mut self) {
        if let Some(at) = self.open.in_scope(P, IN_BUTTON) {
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
    fn start_item(&mut self, name: &Name, items: &[Key]) {
        let found = items.iter().filter_map(|item| self.open.in_scope(*item, Traits::ITEM_SCOPE)).max();
        if let Some(at) = found {
            self.open.truncate(at);
        }
        self.close_paragraph();
        self.push(name);
    }

    fn start_form(&mut self, name: &Name) {
        let is_in_template = self.open.has(TEMPLATE);
        if self.has_form && !is_in_template {
            return;
        }
        self.close_paragraph();
        let traits = Traits::of_html(name);
        let is_pointed_at = if is_in_template { Traits::default() } else { Traits::FORM };
        self.has_form |= !is_in_template;
        self.open.push(FORM, traits.and(is_pointed_at));
    }

    pub(super) fn end_tag(&mut self, name: &Name) -> Outcome {
        let (tag, key) = (name.as_bytes(), Key::of_html(name));
        loop {
            match (self.mode(), tag) {
                (Mode::Around, b"col" | b"colgroup") => {}
                (Mode::Around, b"table") => return Outcome::ReachesOut,
                (Mode::Around, _) if is_of_table(name) => return Outcome::ReachesOut,
                (_, b"template") | (Mode::Body | Mode::Around, _) => return self.end_tag_in_body(name),
                (Mode::Template, _) => {}
                (Mode::Cell, b"td" | b"th") => {
                    if self.is_in_table_scope(key) {
                        self.close_marked_mode();
                    }
                }
                (Mode::Cell, b"table" | b"tbody" | b"tfoot" | b"thead" | b"tr") => {
                    if !self.is_in_table_scope(key) {
                        return Outcome::Done;
                    }
                    self.close_marked_mode();
                    continue;
                }
                (Mode::Caption, b"caption") => self.close_marked_mode(),
                (Mode::Caption, b"table") => {
                    self.close_marked_mode();
                    continue;
                }
                (Mode::ColumnGroup, b"col") => {}
                (Mode::ColumnGroup, _) if self.open.top_is(COLGROUP) => {
                    self.open.pop();
                    if !name.is(b"colgroup") {
                        continue;
                    }
                }
                (Mode::ColumnGroup, _) => {}
                (Mode::Row, b"tr") if self.is_in_table_scope(TR) => self.close_mode(),
                (Mode::Row, b"table" | b"tbody" | b"tfoot" | b"thead") => {
                    let is_open = name.is(b"table") || self.is_in_table_scope(key);
                    if !(is_open && self.is_in_table_scope(TR)) {
                        return Outcome::Done;
                    }
                    self.close_mode();
                    continue;
                }
                (Mode::TableBody, b"tbody" | b"tfoot" | b"thead") => {
                    if self.is_in_table_scope(key) {
                        self.close_mode();
                    }
                }
                (Mode::TableBody, b"table") => {
                    if ![TBODY, THEAD, TFOOT].into_iter().any(|key| self.is_in_table_scope(key)) {
                        return Outcome::Done;
                    }
                    self.close_mode();
                    continue;
                }
                (_, b"table") => {
                    if let Some(at) = self.open.in_scope(TABLE, Traits::TABLE_SCOPE) {
                        self.open.truncate(at);
                    }
                }
                _ if is_of_table(name) => {}
                _ => return self.end_tag_in_body(name),
            }
            return Outcome::Done;
        }
    }

    fn end_tag_in_body(&mut self, name: &Name) -> Outcome {
        let key = Key::of_html(name);
        match name.as_bytes() {
            b"body" | b"html" => Outcome::Done,
            b"br" => {
                self.open.reconstruct_formatting();
                Outcome::Done
            }
            b"template" => match self.open.find(TEMPLATE, Traits::default()) {
                Place::At(at) => {
                    self.open.truncate(at);
                    self.open.clear_formatting_to_marker();
                    self.template_modes.pop();
                    Outcome::Done
                }
                Place::Nowhere | Place::Around => Outcome::ReachesOut,
            },
            b"form" => self.end_form(),
            b"li" => self.end_within(key, LIST_ITEM),
            b"p" => self.end_within(key, IN_BUTTON),
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => self.end_heading(),
            b"applet" | b"marquee" | b"object" => {
                let is_open = self.open.in_scope(key, Traits::SCOPE).is_some();
                let outcome = self.end_within(key, Traits::SCOPE);
                if is_open {
                    self.open.clear_formatting_to_marker();
                }
                outcome
            }
            b"button" | b"dd" | b"dt" | b"select" => self.end_within(key, Traits::SCOPE),
            _ if is_block(name) => self.end_within(key, Traits::SCOPE),
            _ if is_formatting(name) => self.end_formatting(key),
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
