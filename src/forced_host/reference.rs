//! The references that [`PublicUrl`] makes absolute.

use std::fmt;

use super::PublicUrl;
use crate::wire::host::{HostPort, Scheme};
use crate::wire::reference::{
    Dots, Part, Reference, cut, merge, push_encoded, push_tail, remove_dot_segments,
};

/// Why a reference is not made absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReferenceError {
    /// It holds a control character.
    Control,
    /// It holds a backslash, which browsers take for a slash.
    Backslash,
    /// It has a scheme that is neither `http` nor `https`, or one without `//`.
    Scheme,
    /// Its authority is no host with or without a port.
    Authority,
    /// It leads to another origin.
    CrossOrigin,
    /// It leads to the own origin, but out of the prefix.
    OutsidePrefix,
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "the reference holds a control character",
            Self::Backslash => "the reference holds a backslash",
            Self::Scheme => "the reference has a scheme that cannot be followed here",
            Self::Authority => "the reference has an authority that is no host",
            Self::CrossOrigin => "the reference leads to another origin",
            Self::OutsidePrefix => "the reference leads out of the prefix of this application",
        })
    }
}

impl std::error::Error for ReferenceError {}

pub(super) fn absolute(
    public: &PublicUrl,
    current_path: &str,
    reference: &str,
) -> Result<String, ReferenceError> {
    let reference = read(reference)?;
    let (current_path, current_query) = cut(current_path.as_bytes(), b'?');
    let mut query = reference.query;
    let clean = |path: &[u8]| remove_dot_segments(path, Dots::AsBrowsers);
    let prefix = public.prefix().as_str();
    let path = match reference.authority {
        Some(authority) => {
            check_origin(public, reference.scheme, authority)?;
            let path = clean(reference.path);
            let below = path.strip_prefix(prefix.as_bytes());
            below
                .filter(|below| matches!(below.first(), None | Some(b'/')))
                .ok_or(ReferenceError::OutsidePrefix)?
                .to_vec()
        }
        None if reference.scheme.is_some() => return Err(ReferenceError::Scheme),
        None if reference.path.is_empty() => {
            query = query.or(current_query);
            clean(&rooted(current_path))
        }
        None if reference.path.starts_with(b"/") => clean(reference.path),
        None => clean(&merge(true, &rooted(current_path), reference.path)),
    };
    let mut text = public.to_string();
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    // The bare prefix is a resource of its own; a host without a path is not (RFC 9110, section 4.2.3).
    if slashes > 0 || prefix.is_empty() {
        text.push('/');
    }
    push_encoded(&mut text, path.get(slashes..).unwrap_or_default(), Part::Path);
    push_tail(&mut text, query, reference.fragment);
    Ok(text)
}

pub(super) fn resolve_any(public: &PublicUrl, base: &str, reference: &str) -> Result<String, ReferenceError> {
    let own = public.to_string();
    let base = read(base)?.resolve(&Reference::parse(own.as_bytes()));
    let resolved = read(reference)?.resolve(&base.as_reference());
    let authority = resolved.as_reference().authority.unwrap_or_default();
    if !authority.iter().all(|byte| *byte == b'%' || Part::Authority.allows(*byte)) {
        return Err(ReferenceError::Authority);
    }
    Ok(resolved.to_text())
}

fn read(reference: &str) -> Result<Reference<'_>, ReferenceError> {
    if reference.bytes().any(|byte| byte.is_ascii_control()) {
        Err(ReferenceError::Control)
    } else if reference.contains('\\') {
        Err(ReferenceError::Backslash)
    } else {
        Ok(Reference::parse(reference.as_bytes()))
    }
}

fn check_origin(public: &PublicUrl, scheme: Option<&[u8]>, authority: &[u8]) -> Result<(), ReferenceError> {
    let scheme = match scheme {
        None => public.scheme(),
        Some(name) => Scheme::of_uri(name).ok_or(ReferenceError::Scheme)?,
    };
    let authority = HostPort::parse(authority).ok_or(ReferenceError::Authority)?;
    if public.origin().is(scheme, &authority) { Ok(()) } else { Err(ReferenceError::CrossOrigin) }
}

/// `*` and the empty path of `CONNECT` are no place to start from.
fn rooted(current_path: &[u8]) -> Vec<u8> {
    if current_path.starts_with(b"/") { current_path.to_vec() } else { b"/".to_vec() }
}
