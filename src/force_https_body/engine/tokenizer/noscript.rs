//! The end of a `noscript`, which is one in any state.

use super::{Sink, State, Tokenizer, ends_tag_name};
use crate::force_https_body::engine::name::Name;

const NOSCRIPT_END: &[u8] = b"</noscript";

impl Tokenizer {
    pub(super) fn look_for_noscript_end<S: Sink>(&mut self, byte: u8, sink: &mut S) {
        let Some(matched) = &mut self.noscript else { return };
        if *matched == NOSCRIPT_END.len() && ends_tag_name(byte) {
            if self.state != State::TagName {
                sink.abandon_tag();
                self.wants_value = false;
            }
            (self.state, self.is_end_tag) = (State::TagName, true);
            self.tag_name = Name::of(b"noscript");
        }
        *matched = match NOSCRIPT_END.get(*matched) {
            Some(next) if byte.eq_ignore_ascii_case(next) => matched.saturating_add(1),
            _ => usize::from(byte == b'<'),
        };
    }
}
