use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::build_error::is_realm;
use super::fields::{Check, Encoding, Fields};
use super::identity::DetachedUser;
use crate::wire::text;

/// How a realm stands with the user's name.
/// [`require_realm`](super::ProxyRemoteUserBuilder::require_realm) reads both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RealmForm {
    /// `alice@CORP`.
    AfterAt,
    /// `CORP\alice`.
    BeforeBackslash,
}

/// What of a user the headers cannot carry as they are to be written: it would be refused on the other side, or read
/// as something else.
///
/// # Example
///
/// ```
/// use tower_proxied::DetachedUser;
/// use tower_proxied::front::SetRemoteUserLayer;
/// use tower_proxied::proxy_remote_user::Unwritable;
///
/// let layer = SetRemoteUserLayer::from_detached_user();
/// let alice = DetachedUser::new("alice").with_groups(["R&D, Berlin"]);
/// let why = layer.can_write(&alice).unwrap_err();
/// assert_eq!(why, Unwritable::Groups);
/// assert_eq!(why.to_string(), "the groups cannot be written");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unwritable {
    /// The headers themselves clash: see `SetRemoteUserLayer::checked`.
    Configuration,
    /// The name: nobody's (empty, `(null)`), too long, with a comma, blank ends or a character that has no shape, or
    /// one that the encoding lacks.
    Name,
    /// A realm is to be written and there is none, or it stands ambiguously with the name (`@`, `\`).
    Realm,
    /// A group, as with the name, with a separator in it, or with a backslash at its end and another one behind it; or too
    /// many groups.
    Groups,
    /// The name for display.
    DisplayName,
    /// The address for mail.
    Email,
    /// The id.
    Uid,
    /// Key or value of an extra attribute.
    Extra,
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configuration => "the headers clash",
            Self::Name => "the name cannot be written",
            Self::Realm => "the realm cannot be written",
            Self::Groups => "the groups cannot be written",
            Self::DisplayName => "the name for display cannot be written",
            Self::Email => "the address for mail cannot be written",
            Self::Uid => "the id cannot be written",
            Self::Extra => "an extra attribute cannot be written",
        })
    }
}

impl std::error::Error for Unwritable {}

impl Encoding {
    fn encode(self, decoded: &str) -> Option<Vec<u8>> {
        match self {
            Self::Utf8 => Some(decoded.as_bytes().to_vec()),
            Self::Latin1 => decoded.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect(),
            Self::Percent => Some(text::to_percent(decoded).into_bytes()),
            Self::Rfc2047 => Some(text::to_encoded_words(decoded).into_bytes()),
        }
    }
}

impl RealmForm {
    fn join(self, name: &str, realm: &str) -> String {
        match self {
            Self::AfterAt => format!("{name}@{realm}"),
            Self::BeforeBackslash => format!("{realm}\\{name}"),
        }
    }
}

impl Fields {
    /// Writes headers in which [`read`](Self::read) finds the same user, as far as there are headers for it. None of
    /// [the names that are held](Self::holds) may be there. Of a user who is unwritable, some headers may be written.
    pub(crate) fn write(&self, user: &DetachedUser, headers: &mut HeaderMap) -> Result<(), Unwritable> {
        self.put_name(headers, user)?;
        self.put_groups(headers, user).ok_or(Unwritable::Groups)?;
        let attributes: [(_, _, Check, _); 3] = [
            (&self.name, user.display_name(), Self::display_name, Unwritable::DisplayName),
            (&self.email, user.email(), Self::unmerged, Unwritable::Email),
            (&self.uid, user.uid(), Self::unmerged, Unwritable::Uid),
        ];
        for (header, attribute, check, unwritable) in attributes {
            if let (Some(header), Some(attribute)) = (header, attribute) {
                self.put(headers, header, attribute, check).ok_or(unwritable)?;
            }
        }
        self.put_extra(headers, user).ok_or(Unwritable::Extra)
    }

    fn put_name(&self, headers: &mut HeaderMap, user: &DetachedUser) -> Result<(), Unwritable> {
        let name = user.name();
        let (with_realm, realm) = match (self.realm_form(), user.realm()) {
            (None, _) => (name.to_owned(), None),
            (Some(form), Some(realm)) if is_realm(realm) => (form.join(name, realm), Some(realm)),
            (Some(_), _) => return Err(Unwritable::Realm),
        };
        let written = format!("{}{with_realm}", self.prefix.as_deref().unwrap_or_default());
        if self.named(&written) != Ok((name, realm)) {
            return Err(if realm.is_some() { Unwritable::Realm } else { Unwritable::Name });
        }
        let header = self.users.first().ok_or(Unwritable::Configuration)?;
        self.put(headers, header, &written, Self::user_name).ok_or(Unwritable::Name)
    }

    fn put_groups(&self, headers: &mut HeaderMap, user: &DetachedUser) -> Option<()> {
        let Some(header) = &self.groups else { return Some(()) };
        let encoded: Option<Vec<Vec<u8>>> = user.groups().map(|group| self.encoding.encode(group)).collect();
        let lines = match (self.grouping.separator(), encoded?) {
            (Some(_), none) if none.is_empty() => none,
            (Some(separator), groups) => vec![groups.join(&separator)],
            (None, groups) => groups,
        };
        for line in lines {
            headers.try_append(header, sensitive(&line)?).ok()?;
        }
        let read = self.groups(headers).ok()?;
        read.iter().eq(user.groups()).then_some(())
    }

    fn put_extra(&self, headers: &mut HeaderMap, user: &DetachedUser) -> Option<()> {
        let Some(prefix) = self.extra_prefixes.first() else { return Some(()) };
        for (key, values) in user.extra() {
            if key.is_empty() || self.check_key(key).is_err() {
                return None;
            }
            let header = HeaderName::try_from(format!("{prefix}{}", text::to_percent_name(key))).ok()?;
            for value in values {
                headers.try_append(&header, self.line(value, Self::value)?).ok()?;
            }
        }
        Some(())
    }

    fn put(&self, headers: &mut HeaderMap, header: &HeaderName, text: &str, check: Check) -> Option<()> {
        headers.try_insert(header, self.line(text, check)?).ok()?;
        Some(())
    }

    /// A line in which the reader finds this text.
    fn line(&self, text: &str, check: Check) -> Option<HeaderValue> {
        let encoded = self.encoding.encode(text)?;
        let read = check(self, &encoded).ok()??;
        if read == text { sensitive(&encoded) } else { None }
    }
}

/// Not indexed by HTTP/2, not shown by Debug.
pub(super) fn sensitive(bytes: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}
