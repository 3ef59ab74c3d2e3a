//! Character references in attribute values (HTML Standard, section 13.2.5.72 and following).

/// One byte of a decoded value, and where it came from in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) byte: u8,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Unit {
    pub(super) fn literal(byte: u8, at: u64) -> Self {
        Self { byte, start: at, end: at.saturating_add(1) }
    }

    /// Written as itself, not as a reference.
    pub(super) fn is_literal(&self) -> bool {
        self.end == self.start.saturating_add(1)
    }
}

/// Decodes a value as it arrives. Numeric references are decoded all, named ones only where they stand for a
/// character of ASCII; the others pass as they are written.
#[derive(Debug, Default)]
pub(super) struct References {
    state: State,
    start: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    Ampersand,
    Hash,
    HexStart {
        x: u8,
    },
    Number {
        radix: u32,
        code: u32,
    },
    Named {
        name: [u8; MAX_NAME],
        len: usize,
    },
}

const MAX_NAME: usize = 16;

/// With the name that needs no semicolon.
const NAMED: &[(&[u8], u8, bool)] = &[
    (b"amp", b'&', true),
    (b"AMP", b'&', true),
    (b"quot", b'"', true),
    (b"QUOT", b'"', true),
    (b"lt", b'<', true),
    (b"LT", b'<', true),
    (b"gt", b'>', true),
    (b"GT", b'>', true),
    (b"colon", b':', false),
    (b"sol", b'/', false),
    (b"bsol", b'\\', false),
    (b"Tab", b'\t', false),
    (b"NewLine", b'\n', false),
    (b"apos", b'\'', false),
    (b"lpar", b'(', false),
    (b"rpar", b')', false),
    (b"comma", b',', false),
    (b"semi", b';', false),
    (b"period", b'.', false),
    (b"commat", b'@', false),
    (b"quest", b'?', false),
    (b"num", b'#', false),
    (b"percnt", b'%', false),
    (b"equals", b'=', false),
    (b"lowbar", b'_', false),
    (b"UnderBar", b'_', false),
    (b"lsqb", b'[', false),
    (b"lbrack", b'[', false),
    (b"rsqb", b']', false),
    (b"rbrack", b']', false),
    (b"excl", b'!', false),
    (b"dollar", b'$', false),
    (b"ast", b'*', false),
    (b"midast", b'*', false),
    (b"plus", b'+', false),
    (b"Hat", b'^', false),
    (b"grave", b'`', false),
    (b"DiacriticalGrave", b'`', false),
    (b"lcub", b'{', false),
    (b"lbrace", b'{', false),
    (b"vert", b'|', false),
    (b"verbar", b'|', false),
    (b"VerticalLine", b'|', false),
    (b"rcub", b'}', false),
    (b"rbrace", b'}', false),
];

impl References {
    /// What is read next is literal, up to the next `&`.
    pub(super) fn are_closed(&self) -> bool {
        matches!(self.state, State::Text)
    }

    pub(super) fn feed(&mut self, byte: u8, at: u64, out: &mut impl FnMut(Unit)) {
        match &mut self.state {
            State::Text => self.begin(byte, at, out),
            State::Ampersand => match byte {
                b'#' => self.state = State::Hash,
                byte if byte.is_ascii_alphanumeric() => {
                    let mut name = [0; MAX_NAME];
                    if let Some(first) = name.first_mut() {
                        *first = byte;
                    }
                    self.state = State::Named { name, len: 1 };
                }
                _ => self.break_off(byte, at, out),
            },
            State::Hash => match byte {
                b'x' | b'X' => self.state = State::HexStart { x: byte },
                b'0'..=b'9' => self.state = State::Number { radix: 10, code: digit(byte, 10).unwrap_or(0) },
                _ => self.break_off(byte, at, out),
            },
            State::HexStart { .. } => match digit(byte, 16) {
                Some(code) => self.state = State::Number { radix: 16, code },
                None => self.break_off(byte, at, out),
            },
            State::Number { radix, code } => match digit(byte, *radix) {
                Some(digit) => *code = code.saturating_mul(*radix).saturating_add(digit),
                None if byte == b';' => self.number(at.saturating_add(1), out),
                None => {
                    self.number(at, out);
                    self.begin(byte, at, out);
                }
            },
            State::Named { name, len } => match (byte, name.get_mut(*len)) {
                (b';', _) => {
                    let known = name.get(..*len).and_then(|name| named(name, true));
                    match known {
                        Some(byte) => {
                            out(Unit { byte, start: self.start, end: at.saturating_add(1) });
                            self.state = State::Text;
                        }
                        None => self.break_off(byte, at, out),
                    }
                }
                (byte, Some(slot)) if byte.is_ascii_alphanumeric() => {
                    *slot = byte;
                    *len = len.saturating_add(1);
                }
                (b'=', _) => self.break_off(byte, at, out),
                (byte, _) if byte.is_ascii_alphanumeric() => self.break_off(byte, at, out),
                _ => {
                    self.end(at, out);
                    self.begin(byte, at, out);
                }
            },
        }
    }

    /// The value ends at `at`.
    pub(super) fn end(&mut self, at: u64, out: &mut impl FnMut(Unit)) {
        match &self.state {
            State::Number { .. } => self.number(at, out),
            State::Named { name, len } => match name.get(..*len).and_then(|name| named(name, false)) {
                Some(byte) => {
                    out(Unit { byte, start: self.start, end: at });
                    self.state = State::Text;
                }
                None => self.replay(out),
            },
            _ => self.replay(out),
        }
    }

    fn begin(&mut self, byte: u8, at: u64, out: &mut impl FnMut(Unit)) {
        if byte == b'&' {
            (self.state, self.start) = (State::Ampersand, at);
        } else {
            self.state = State::Text;
            out(Unit::literal(byte, at));
        }
    }

    /// What was read is no reference, and `byte` is the first one that shows it.
    fn break_off(&mut self, byte: u8, at: u64, out: &mut impl FnMut(Unit)) {
        self.replay(out);
        self.begin(byte, at, out);
    }

    fn replay(&mut self, out: &mut impl FnMut(Unit)) {
        let start = self.start;
        let mut each = |bytes: &[u8]| {
            bytes.iter().zip(start..).for_each(|(byte, at)| out(Unit::literal(*byte, at)));
        };
        match std::mem::take(&mut self.state) {
            State::Text | State::Number { .. } => {}
            State::Ampersand => each(b"&"),
            State::Hash => each(b"&#"),
            State::HexStart { x } => each(&[b'&', b'#', x]),
            State::Named { name, len } => {
                each(b"&");
                let bytes = name.iter().take(len);
                bytes.zip(start.saturating_add(1)..).for_each(|(byte, at)| out(Unit::literal(*byte, at)));
            }
        }
    }

    fn number(&mut self, end: u64, out: &mut impl FnMut(Unit)) {
        if let State::Number { code, .. } = std::mem::take(&mut self.state) {
            let char =
                char::from_u32(code).filter(|char| *char != '\0').unwrap_or(char::REPLACEMENT_CHARACTER);
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                out(Unit { byte, start: self.start, end });
            }
        }
    }
}

fn digit(byte: u8, radix: u32) -> Option<u32> {
    char::from(byte).to_digit(radix)
}

fn named(name: &[u8], has_semicolon: bool) -> Option<u8> {
    NAMED
        .iter()
        .find(|(known, _, stands_alone)| *known == name && (has_semicolon || *stands_alone))
        .map(|(_, byte, _)| *byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl References {
        pub(in super::super) fn state_name(&self) -> String {
            format!("{:?}", self.state)
        }
    }

    fn decode(text: &str) -> (String, Vec<Unit>) {
        let (mut references, mut units) = (References::default(), Vec::new());
        for (at, byte) in text.bytes().enumerate() {
            references.feed(byte, at as u64, &mut |unit| units.push(unit));
        }
        references.end(text.len() as u64, &mut |unit| units.push(unit));
        let bytes = units.iter().map(|unit| unit.byte).collect();
        (String::from_utf8(bytes).unwrap(), units)
    }

    #[test]
    fn decodes_what_matters_and_keeps_the_rest() {
        for (text, decoded) in [
            ("a&#58;b", "a:b"),
            ("&#58//h", "://h"),
            ("&#x3A;&#X2f;", ":/"),
            ("&colon;&sol;&bsol;", ":/\\"),
            ("&colon//", "&colon//"),
            ("&amp;#58;", "&#58;"),
            ("&quot", "\""),
            ("&quot=", "&quot="),
            ("&quotx", "&quotx"),
            ("&amp&#58;", "&:"),
            ("&&#", "&&#"),
            ("&#x;&#g", "&#x;&#g"),
            ("&#xzz", "&#xzz"),
            ("&unknown;&averyverylongname;", "&unknown;&averyverylongname;"),
            ("&#252;&#0;&#x110000;&#99999999999;", "ü\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(decode(text).0, decoded, "{text}");
        }
    }

    #[test]
    fn knows_each_name_of_an_ascii_character() {
        let known: std::collections::BTreeMap<&[u8], u8> =
            NAMED.iter().map(|(name, byte, _)| (*name, *byte)).collect();
        let mut due = std::collections::BTreeMap::new();
        for (name, (first, second)) in html5ever::data::NAMED_ENTITIES.entries() {
            let Some(bare) = name.strip_suffix(';') else {
                if let Some((_, _, stands_alone)) =
                    NAMED.iter().find(|(known, _, _)| *known == name.as_bytes())
                {
                    // The table holds the beginnings of names too, as nothing.
                    assert_eq!(*stands_alone, *first != 0, "{name}");
                }
                continue;
            };
            if let (1..=0x7f, 0) = (*first, *second) {
                due.insert(bare.as_bytes(), *first as u8);
            }
        }
        assert_eq!(known, due);
    }

    #[test]
    fn tells_where_a_byte_came_from() {
        let (_, units) = decode("a&#58;b&c");
        let ranges: Vec<_> = units.iter().map(|unit| (unit.byte, unit.start, unit.end)).collect();
        assert_eq!(ranges, [(b'a', 0, 1), (b':', 1, 6), (b'b', 6, 7), (b'&', 7, 8), (b'c', 8, 9)]);
        assert!(units[0].is_literal() && !units[1].is_literal());
    }
}
