//! Tags and attributes that are there as a whole, and are written as most are: read without a state for each byte.

use super::{Sink, State, Tokenizer, ends_attribute_name, ends_tag_name};
use crate::force_https_body::engine::find::{find, find_end_of_near_name};
use crate::force_https_body::engine::name::Name;
use crate::force_https_body::engine::offset;

/// The name of a tag, and what follows it.
#[inline(always)]
pub(in crate::force_https_body::engine) fn tag_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    // Before the end is looked for, which may be far.
    bytes.first().filter(|byte| byte.is_ascii_alphabetic())?;
    split_name(bytes, ends_tag_name)
}

#[inline(always)]
fn split_name(bytes: &[u8], ends: fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    let near = find_end_of_near_name(bytes).and_then(|near| bytes.split_at_checked(near));
    match near {
        Some((name, rest)) if rest.first().is_some_and(|byte| ends(*byte)) => Some((name, rest)),
        _ => bytes.split_at_checked(bytes.iter().position(|byte| ends(*byte))?),
    }
}

impl Tokenizer {
    /// Reads the start of a tag, up to the end of its name.
    pub(super) fn tag<S: Sink>(&mut self, bytes: &[u8], sink: &mut S) -> Option<usize> {
        let (is_end_tag, named) = match bytes {
            [b'<', b'/', named @ ..] => (true, named),
            [b'<', named @ ..] => (false, named),
            _ => return None,
        };
        let (name, rest) = tag_name(named)?;
        (self.tag_name, self.is_end_tag) = (Name::of(name), is_end_tag);
        if !is_end_tag {
            sink.start_tag(&self.tag_name);
        }
        self.state = State::BeforeAttributeName;
        Some(bytes.len().saturating_sub(rest.len()))
    }

    /// Reads the next attribute, or the end of the tag.
    pub(super) fn part<S: Sink>(&mut self, bytes: &[u8], sink: &mut S) -> Option<usize> {
        let start = self.at;
        let place = |rest: &[u8]| start.saturating_add(offset(bytes.len().saturating_sub(rest.len())));
        let after = match part(bytes)? {
            Part::Attribute { name, value, behind_value, after } => {
                if !self.is_end_tag && sink.may_want(name) && sink.attribute(&Name::of(name)) {
                    let end = place(behind_value);
                    if !value.is_empty() {
                        sink.value(value, end.saturating_sub(offset(value.len())));
                    }
                    sink.value_end(end);
                }
                after
            }
            Part::End { is_self_closing, after } => {
                self.at = place(after).saturating_sub(1);
                self.end_tag(is_self_closing, sink);
                self.at = start;
                after
            }
        };
        Some(bytes.len().saturating_sub(after.len()))
    }
}

pub(in crate::force_https_body::engine) enum Part<'a> {
    /// `behind_value` begins where the value ends, which is known where the next thing begins if there is none.
    Attribute {
        name: &'a [u8],
        value: &'a [u8],
        behind_value: &'a [u8],
        after: &'a [u8],
    },
    End {
        is_self_closing: bool,
        after: &'a [u8],
    },
}

/// The next thing behind the name of a tag, or behind an attribute. An `=` apart from its name, and `/` within a tag
/// are rare, and left to the states.
#[inline(always)]
pub(in crate::force_https_body::engine) fn part(bytes: &[u8]) -> Option<Part<'_>> {
    let bytes = behind_blanks(bytes);
    match bytes {
        [b'>', after @ ..] => return Some(Part::End { is_self_closing: false, after }),
        [b'/', b'>', after @ ..] => return Some(Part::End { is_self_closing: true, after }),
        _ => {}
    }
    let (name, rest) = split_name(bytes, ends_attribute_name)?;
    if name.is_empty() {
        return None;
    }
    let (value, behind_value, after) = match rest {
        [b'=', quote @ (b'"' | b'\''), rest @ ..] => {
            let (value, behind) = rest.split_at_checked(find(*quote, rest)?)?;
            (value, behind, behind.get(1..)?)
        }
        [b'=', rest @ ..] => {
            let end = rest.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>')?;
            let (value, after) = rest.split_at_checked(end).filter(|(value, _)| !value.is_empty())?;
            (value, after, after)
        }
        _ => {
            let after = behind_blanks(rest);
            if matches!(after, [] | [b'=', ..]) {
                return None;
            }
            (&[][..], after, after)
        }
    };
    Some(Part::Attribute { name, value, behind_value, after })
}

fn behind_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\n' | b'\t' | b'\r' | b'\x0c', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}
