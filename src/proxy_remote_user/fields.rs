use std::borrow::Cow;
use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};

use super::fault::{IdentityFault, Role, Rule};
use super::identity::DetachedUser;
use super::text_list::TextList;
use super::write::RealmForm;
use crate::wire::{list, name, text};

/// How the proxy writes what ASCII cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// UTF-8, as it is.
    Utf8,
    /// ISO-8859-1.
    Latin1,
    /// Percent triplets of UTF-8 (RFC 3986, section 2.1), decoded once.
    Percent,
    /// Encoded words (RFC 2047), as Tailscale and this crate's front end write them.
    Rfc2047,
}

impl Encoding {
    fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 => text::utf8(bytes),
            Self::Latin1 => Some(text::latin1(bytes)),
            Self::Percent => text::percent(bytes),
            Self::Rfc2047 => text::encoded_words(bytes),
        }
    }
}

/// How the proxy writes groups.
///
/// A separator behind a backslash is refused with 400, since some proxies write `\;` for a semicolon within a group, and
/// `a\;ops` must not make an `ops` of its own. [`PerLine`](Self::PerLine) knows no separator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Groups {
    /// `dev,ops` in one line (Authelia, oauth2-proxy).
    Comma,
    /// `dev;ops` in one line (Shibboleth).
    Semicolon,
    /// `dev|ops` in one line (authentik, Jenkins).
    Pipe,
    /// This character between groups in one line. [`build`](super::ProxyRemoteUserBuilder::build) refuses one that
    /// stands in names or in the encoding: only a blank and ASCII punctuation but `-`, `_` and `.` can be meant.
    Separated(char),
    /// One group per line (Kubernetes): a group may hold any separator. Lines that the client wrote and the proxy
    /// only added to cannot be told from its own.
    PerLine,
}

impl Groups {
    pub(super) fn separator(self) -> Option<u8> {
        match self {
            Self::Comma => Some(b','),
            Self::Semicolon => Some(b';'),
            Self::Pipe => Some(b'|'),
            Self::Separated(char) => u8::try_from(char).ok(),
            Self::PerLine => None,
        }
    }

    /// A separator that cannot stand between groups in this encoding.
    pub(super) fn unusable_separator(self, encoding: Encoding) -> Option<char> {
        let Self::Separated(char) = self else { return None };
        let is_plain = char == ' ' || (char.is_ascii_punctuation() && !"-_.".contains(char));
        let is_of_encoding = match encoding {
            Encoding::Utf8 | Encoding::Latin1 => false,
            Encoding::Percent => char == '%',
            Encoding::Rfc2047 => " =?+/".contains(char),
        };
        (!is_plain || is_of_encoding).then_some(char)
    }
}

/// The identity headers, and how they are written: what reader and writer agree on.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    /// Of several, no two may name different users; the first is the one that is written.
    pub(crate) users: Vec<HeaderName>,
    pub(crate) groups: Option<HeaderName>,
    pub(crate) name: Option<HeaderName>,
    pub(crate) email: Option<HeaderName>,
    pub(crate) uid: Option<HeaderName>,
    pub(crate) extra_prefixes: Vec<Box<str>>,
    pub(crate) grouping: Groups,
    pub(crate) encoding: Encoding,
    pub(super) placeholders: Vec<Box<str>>,
    /// As `max_value_bytes` unless said.
    pub(super) max_user_bytes: Option<usize>,
    pub(super) max_value_bytes: usize,
    pub(super) max_groups: usize,
    pub(super) allows_comma: bool,
    pub(super) allows_format_chars: bool,
    pub(super) prefix: Option<Box<str>>,
    pub(super) realms: Option<Vec<Box<str>>>,
    /// How a realm is written. The reader takes both forms.
    pub(crate) realm_form: Option<RealmForm>,
}

/// What mod_headers of Apache httpd writes for a variable that is not set.
pub(super) const UNSET: &str = "(null)";

impl Default for Fields {
    fn default() -> Self {
        Self {
            users: vec![HeaderName::from_static("remote-user")],
            groups: Some(HeaderName::from_static("remote-groups")),
            name: Some(HeaderName::from_static("remote-name")),
            email: Some(HeaderName::from_static("remote-email")),
            uid: None,
            extra_prefixes: Vec::new(),
            grouping: Groups::Comma,
            encoding: Encoding::Utf8,
            placeholders: vec![UNSET.into()],
            max_user_bytes: None,
            max_value_bytes: 256,
            max_groups: 128,
            allows_comma: false,
            allows_format_chars: false,
            prefix: None,
            realms: None,
            realm_form: None,
        }
    }
}

impl Fields {
    /// All names with one spelling.
    pub(super) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.users.iter().chain(&self.groups).chain(&self.name).chain(&self.email).chain(&self.uid)
    }

    /// Whether this is one of the headers, in any spelling.
    pub(crate) fn holds(&self, header: &HeaderName) -> bool {
        let covers = |prefix: &str| name::folds_to_prefix(header.as_str().as_bytes(), prefix.as_bytes());
        self.names().any(|own| folds(own, header)) || self.extra_prefixes.iter().any(|prefix| covers(prefix))
    }

    /// Whether this is one of the headers, in the spelling that counts.
    pub(super) fn spells(&self, header: &HeaderName) -> bool {
        self.names().any(|own| own == header)
            || self.extra_prefixes.iter().any(|prefix| header.as_str().starts_with(&**prefix))
    }

    /// Whose header this is, in any spelling.
    pub(super) fn role(&self, header: &HeaderName) -> Option<Role> {
        let is_of = |own: &HeaderName| folds(own, header);
        let roles = [
            (&self.groups, Role::Groups),
            (&self.name, Role::Name),
            (&self.email, Role::Email),
            (&self.uid, Role::Uid),
        ];
        if self.users.iter().any(is_of) {
            return Some(Role::User);
        }
        let single = roles.into_iter().find(|(own, _)| own.as_ref().is_some_and(is_of));
        single.map(|(_, role)| role).or_else(|| self.holds(header).then_some(Role::Extra))
    }

    pub(super) fn max_user_bytes(&self) -> usize {
        self.max_user_bytes.unwrap_or(self.max_value_bytes)
    }

    /// The user that the headers name: nobody, somebody, or a fault where they are ambiguous or unreadable.
    pub(super) fn read(&self, headers: &HeaderMap) -> Result<Option<DetachedUser>, IdentityFault> {
        let Some(written) = self.user(headers).map_err(Role::User.broke())? else { return Ok(None) };
        let (name, realm) = self.named(&written).map_err(Role::User.broke())?;
        let groups = self.groups(headers).map_err(Role::Groups.broke())?;
        let mut user = DetachedUser::new(name).with_group_list(groups);
        if let Some(realm) = realm {
            user = user.with_realm(realm);
        }
        let display_name = self.attribute(headers, self.name.as_ref(), Self::display_name);
        if let Some(display_name) = display_name.map_err(Role::Name.broke())? {
            user = user.with_display_name(display_name);
        }
        let email = self.attribute(headers, self.email.as_ref(), Self::unmerged);
        if let Some(email) = email.map_err(Role::Email.broke())? {
            user = user.with_email(email);
        }
        let uid = self.attribute(headers, self.uid.as_ref(), Self::unmerged);
        if let Some(uid) = uid.map_err(Role::Uid.broke())? {
            user = user.with_uid(uid);
        }
        for (key, values) in self.extra(headers).map_err(Role::Extra.broke())? {
            user = values.into_iter().fold(user, |user, value| user.with_extra(&key, value));
        }
        Ok(Some(user))
    }

    fn user<'a>(&self, headers: &'a HeaderMap) -> Result<Option<Cow<'a, str>>, Rule> {
        let mut user: Option<Cow<'a, str>> = None;
        for header in &self.users {
            let found = self.attribute(headers, Some(header), Self::user_name)?;
            if user.is_some() && found.is_some() && user != found {
                return Err(Rule::Disagreement);
            }
            user = user.or(found);
        }
        Ok(user)
    }

    fn attribute<'a>(
        &self,
        headers: &'a HeaderMap,
        header: Option<&HeaderName>,
        check: Check,
    ) -> Result<Option<Cow<'a, str>>, Rule> {
        let Some(header) = header else { return Ok(None) };
        match list::only_line(headers, header) {
            Ok(None) => Ok(None),
            Ok(Some(line)) => check(self, line),
            Err(list::SeveralLines) => Err(Rule::SeveralLines),
        }
    }

    pub(super) fn groups(&self, headers: &HeaderMap) -> Result<TextList, Rule> {
        let mut groups = TextList::new();
        let Some(header) = &self.groups else { return Ok(groups) };
        let separator = self.grouping.separator();
        if separator.is_some() && list::only_line(headers, header).is_err() {
            return Err(Rule::SeveralLines);
        }
        let mut is_escaped = false;
        for item in list::lines(headers, header).flat_map(|line| line.split(|byte| Some(*byte) == separator))
        {
            if is_escaped {
                return Err(Rule::EscapedSeparator);
            }
            is_escaped = separator.is_some() && list::trim(item).ends_with(b"\\");
            let Some(group) = self.value(item)? else { continue };
            if groups.len() >= self.max_groups {
                return Err(Rule::TooMany);
            }
            groups.push(&group);
        }
        Ok(groups)
    }

    /// Attributes whose key stands in the name of the header, lower-case, with percent triplets for what a header
    /// name cannot hold (Kubernetes). A key in two spellings is refused.
    fn extra(&self, headers: &HeaderMap) -> Result<BTreeMap<String, Vec<String>>, Rule> {
        let mut extra = BTreeMap::new();
        if self.extra_prefixes.is_empty() {
            return Ok(extra);
        }
        for header in headers.keys() {
            let key = self.extra_prefixes.iter().find_map(|prefix| header.as_str().strip_prefix(&**prefix));
            let Some(key) = key.filter(|key| !key.is_empty()) else { continue };
            let key = text::percent(key.as_bytes()).map_or_else(|| key.to_owned(), Cow::into_owned);
            self.check_key(&key)?;
            let mut values = Vec::new();
            for line in list::lines(headers, header) {
                values.extend(self.value(line)?.map(Cow::into_owned));
            }
            if extra.insert(key, values).is_some() {
                return Err(Rule::TwoSpellings);
            }
        }
        Ok(extra)
    }

    /// What the key of an extra attribute must keep to, once it is decoded.
    pub(super) fn check_key(&self, key: &str) -> Result<(), Rule> {
        if key.len() > self.max_value_bytes {
            return Err(Rule::TooLong);
        }
        if key.chars().any(text::is_invisible) {
            return Err(Rule::InvisibleCharacter);
        }
        has_no_blank_ends(key)
    }

    pub(super) fn user_name<'a>(&self, line: &'a [u8]) -> Result<Option<Cow<'a, str>>, Rule> {
        self.not_merged(line)?;
        self.checked(line, self.max_user_bytes(), text::is_invisible)
    }

    pub(super) fn display_name<'a>(&self, line: &'a [u8]) -> Result<Option<Cow<'a, str>>, Rule> {
        let is_refused = if self.allows_format_chars { char::is_control } else { text::is_invisible };
        self.checked(line, self.max_value_bytes, is_refused)
    }

    pub(super) fn value<'a>(&self, line: &'a [u8]) -> Result<Option<Cow<'a, str>>, Rule> {
        self.checked(line, self.max_value_bytes, text::is_invisible)
    }

    pub(super) fn unmerged<'a>(&self, line: &'a [u8]) -> Result<Option<Cow<'a, str>>, Rule> {
        self.not_merged(line)?;
        self.value(line)
    }

    /// A comma shows that two lines were merged (RFC 9110, section 5.3).
    fn not_merged(&self, line: &[u8]) -> Result<(), Rule> {
        if !self.allows_comma && line.contains(&b',') { Err(Rule::Comma) } else { Ok(()) }
    }

    /// One value, decoded; `Ok(None)` where it stands for nobody.
    fn checked<'a>(
        &self,
        line: &'a [u8],
        max_bytes: usize,
        is_refused: fn(char) -> bool,
    ) -> Result<Option<Cow<'a, str>>, Rule> {
        let value = self.encoding.decode(list::trim(line)).ok_or(Rule::Undecodable)?;
        if self.is_nobody(&value) {
            return Ok(None);
        }
        if value.len() > max_bytes {
            return Err(Rule::TooLong);
        }
        if value.chars().any(is_refused) {
            return Err(Rule::InvisibleCharacter);
        }
        has_no_blank_ends(&value)?;
        Ok(Some(value))
    }

    /// Name and realm of what stands in the user's header.
    pub(super) fn named<'a>(&self, written: &'a str) -> Result<(&'a str, Option<&'a str>), Rule> {
        self.without_realm(self.without_prefix(written)?)
    }

    /// How a realm stands with the name, where there is to be one.
    pub(super) fn realm_form(&self) -> Option<RealmForm> {
        self.realm_form.or(self.realms.as_ref().map(|_| RealmForm::AfterAt))
    }

    fn without_prefix<'a>(&self, user: &'a str) -> Result<&'a str, Rule> {
        let Some(prefix) = &self.prefix else { return Ok(user) };
        let name = user.strip_prefix(&**prefix).ok_or(Rule::PrefixMissing)?;
        self.must_name_somebody(name)?;
        Ok(name)
    }

    /// `name@realm` or `realm\name`, where exactly one of both signs stands once.
    fn without_realm<'a>(&self, user: &'a str) -> Result<(&'a str, Option<&'a str>), Rule> {
        if self.realm_form().is_none() {
            return Ok((user, None));
        }
        let mut parts = user.split(['@', '\\']);
        let (name, realm) = match (parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(realm), None) if user.contains('@') => (name, realm),
            (Some(realm), Some(name), None) => (name, realm),
            _ => return Err(Rule::RealmSyntax),
        };
        if realm.is_empty() {
            return Err(Rule::RealmSyntax);
        }
        self.must_name_somebody(name)?;
        let is_own = |realms: &Vec<Box<str>>| realms.iter().any(|own| **own == *realm);
        if !self.realms.as_ref().is_none_or(is_own) {
            return Err(Rule::ForeignRealm);
        }
        Ok((name, Some(realm)))
    }

    fn is_nobody(&self, value: &str) -> bool {
        value.is_empty() || self.placeholders.iter().any(|placeholder| **placeholder == *value)
    }

    fn must_name_somebody(&self, name: &str) -> Result<(), Rule> {
        if self.is_nobody(name) { Err(Rule::NobodyLeft) } else { has_no_blank_ends(name) }
    }
}

/// Whether these are two spellings of one header.
pub(crate) fn folds(header: &HeaderName, other: &HeaderName) -> bool {
    name::fold_together(header.as_str().as_bytes(), other.as_str().as_bytes())
}

/// Of any kind: a program that trims what it reads takes `admin` and U+00A0 for `admin`.
fn has_no_blank_ends(value: &str) -> Result<(), Rule> {
    if value.trim().len() == value.len() { Ok(()) } else { Err(Rule::BlankEnds) }
}

pub(super) type Check = for<'a> fn(&Fields, &'a [u8]) -> Result<Option<Cow<'a, str>>, Rule>;
