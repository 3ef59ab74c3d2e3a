//! The states inside of elements that hold text, and no markup (HTML Standard, section 13.2.5).

use memchr::{memchr, memchr2};

use super::{Sink, State, Tokenizer, ends_tag_name, tag_name, up_to};

impl Tokenizer {
    pub(super) fn text_step<S: Sink>(&mut self, byte: u8, rest: &[u8], sink: &mut S) -> usize {
        match self.state {
            State::Text => match self.before_end_tag(rest) {
                [] => self.less_than(State::Text, State::TextLessThan),
                text => self.text(text, false, sink),
            },
            State::TextLessThan if byte == b'/' => self.go(State::TextEndTagOpen),
            State::TextLessThan => self.no_end_tag(b"<", sink),
            State::TextEndTagOpen if byte.is_ascii_alphabetic() => {
                self.name.clear();
                self.again(State::TextEndTagName)
            }
            State::TextEndTagOpen => {
                self.name.clear();
                self.no_end_tag(b"</", sink)
            }
            State::TextEndTagName => {
                let mut name = self.name;
                name.push(byte);
                // Of another name no letter is kept, however long it is.
                if self.tag_name.starts_with(name.as_bytes()) {
                    self.name = name;
                    return 1;
                }
                if ends_tag_name(byte) && self.name.is(self.tag_name.as_bytes()) {
                    self.is_end_tag = true;
                    return self.again(State::TagName);
                }
                self.no_end_tag(b"</", sink)
            }
            State::Script => match self.before_end_tag(rest) {
                [] => self.less_than(State::Script, State::ScriptLessThan),
                text => text.len(),
            },
            State::ScriptLessThan => match byte {
                b'/' => self.go(State::TextEndTagOpen),
                b'!' => self.go(State::ScriptEscapeStart),
                _ => self.again(State::Script),
            },
            State::ScriptEscapeStart if byte == b'-' => self.go(State::ScriptEscapeStartDash),
            State::ScriptEscapeStartDash if byte == b'-' => self.go(State::ScriptEscaped { dashes: 2 }),
            State::ScriptEscapeStart | State::ScriptEscapeStartDash => self.again(State::Script),
            State::ScriptEscaped { dashes } => match byte {
                b'-' => self.go(State::ScriptEscaped { dashes: dashes.saturating_add(1) }),
                b'<' => self.less_than(State::ScriptEscaped { dashes: 0 }, State::ScriptEscapedLessThan),
                b'>' if dashes >= 2 => self.go(State::Script),
                _ => {
                    self.state = State::ScriptEscaped { dashes: 0 };
                    memchr2(b'-', b'<', rest).unwrap_or(rest.len())
                }
            },
            State::ScriptEscapedLessThan => match byte {
                b'/' => self.go(State::TextEndTagOpen),
                byte if byte.is_ascii_alphabetic() => {
                    self.name.clear();
                    self.again(State::ScriptDoubleEscapeStart)
                }
                _ => self.again(State::ScriptEscaped { dashes: 0 }),
            },
            State::ScriptDoubleEscapeStart => {
                let (escaped, double) =
                    (State::ScriptEscaped { dashes: 0 }, State::ScriptDoubleEscaped { dashes: 0 });
                self.double_escape(byte, escaped, double)
            }
            State::ScriptDoubleEscaped { dashes } => match byte {
                b'-' => self.go(State::ScriptDoubleEscaped { dashes: dashes.saturating_add(1) }),
                b'<' => self.go(State::ScriptDoubleEscapedLessThan),
                b'>' if dashes >= 2 => self.go(State::Script),
                _ => {
                    self.state = State::ScriptDoubleEscaped { dashes: 0 };
                    memchr2(b'-', b'<', rest).unwrap_or(rest.len())
                }
            },
            State::ScriptDoubleEscapedLessThan if byte == b'/' => {
                self.name.clear();
                self.go(State::ScriptDoubleEscapeEnd)
            }
            State::ScriptDoubleEscapedLessThan => self.again(State::ScriptDoubleEscaped { dashes: 0 }),
            State::ScriptDoubleEscapeEnd => {
                let (escaped, double) =
                    (State::ScriptEscaped { dashes: 0 }, State::ScriptDoubleEscaped { dashes: 0 });
                self.double_escape(byte, double, escaped)
            }
            // All other states are those of `step`.
            _ => 1,
        }
    }

    /// What comes before a `<` that may begin the end tag, or escape a script.
    fn before_end_tag<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let mut rest = text;
        while let Some(found) = memchr(b'<', rest) {
            rest = rest.get(found..).unwrap_or_default();
            let is_text = match rest {
                [_, b'/', named @ ..] => tag_name(named)
                    .is_some_and(|(name, _)| !name.eq_ignore_ascii_case(self.tag_name.as_bytes())),
                [_, b'!', ..] | [_] => false,
                _ => true,
            };
            if !is_text {
                return up_to(text, text.len().checked_sub(rest.len()));
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        text
    }

    /// Behind `<script` or `</script` in an escaped script: a whole `script` turns from one state to the other.
    fn double_escape(&mut self, byte: u8, stay: State, turn: State) -> usize {
        match byte {
            byte if ends_tag_name(byte) => self.go(if self.name.is(b"script") { turn } else { stay }),
            byte if byte.is_ascii_alphabetic() => {
                self.name.push(byte);
                1
            }
            _ => self.again(stay),
        }
    }

    fn less_than(&mut self, back: State, state: State) -> usize {
        (self.text_state, self.text_lt_at) = (back, self.at);
        self.go(state)
    }

    /// What looked like an end tag is text.
    fn no_end_tag<S: Sink>(&mut self, start: &[u8], sink: &mut S) -> usize {
        if self.text_state == State::Text && sink.wants_text() {
            sink.text(start, self.text_lt_at, false);
            if start.len() == 2 {
                sink.text(self.name.as_bytes(), self.text_lt_at.saturating_add(2), false);
            }
        }
        self.again(self.text_state)
    }
}
