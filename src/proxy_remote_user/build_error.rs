use std::fmt;

use http::HeaderName;

use super::builder::{Config, OnWellKnown};
use super::fields::{Encoding, Fields, folds};
use super::map_user::UserMap;
use crate::wire::{list, name, text};

/// Why a [`ProxyRemoteUserLayer`](super::ProxyRemoteUserLayer) cannot be built. [`item`](Self::item) says what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    item: Box<str>,
    problem: Problem,
}

impl BuildError {
    /// The offending item.
    pub fn item(&self) -> &str {
        &self.item
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    NoProof,
    Reserved,
    Clash,
    KeptSecret,
    KeptAlias,
    KeptStranger,
    BroadPrefix,
    OverlappingPrefix,
    NoUserHeader,
    Separator,
    NoBytes,
    Placeholder,
    Realm,
    NamePrefix,
    LongNamePrefix,
    MergedNamePrefix,
    Challenge,
    ExemptPath,
    UserType,
}

impl Problem {
    fn of(self, item: impl fmt::Display) -> BuildError {
        BuildError { item: item.to_string().into(), problem: self }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let item = &*self.item;
        match self.problem {
            Problem::NoProof => write!(
                f,
                "no proof of the proxy: {item} is never met; fill it, or see ProxyRemoteUserLayer::disabled()"
            ),
            Problem::Reserved => write!(
                f,
                "reserved header {item:?}: it would be removed from every request; let the proxy write another one"
            ),
            Problem::Clash => write!(
                f,
                "header {item:?} has two roles, perhaps in another spelling; rename one, or switch it off, as with groups_header(None)"
            ),
            Problem::KeptSecret => write!(f, "header {item:?} holds a secret, which is never handed through"),
            Problem::KeptAlias => {
                write!(f, "header {item:?} is another spelling of a configured header: keep that one")
            }
            Problem::KeptStranger => {
                write!(f, "header {item:?} is no identity header: it passes without keep(..)")
            }
            Problem::BroadPrefix => {
                write!(f, "prefix {item:?} is too broad: it covers headers that are needed")
            }
            Problem::OverlappingPrefix => {
                write!(f, "prefix {item:?} overlaps with another one: the same header would have two keys")
            }
            Problem::NoUserHeader => write!(f, "no header names the user: {item} is empty"),
            Problem::Separator => write!(
                f,
                "separator {item:?} between groups is refused: it stands in names or in the encoding; see Groups::PerLine"
            ),
            Problem::NoBytes => write!(f, "{item} of 0 refuses every user"),
            Problem::Placeholder => {
                write!(
                    f,
                    "placeholder {item:?} has blank ends, which are cut from every value before it is compared"
                )
            }
            Problem::Realm => write!(
                f,
                "realm {item:?} is refused: it is empty, has blank ends, holds @, \\, a comma without allow_comma or a character without a shape, or there is none"
            ),
            Problem::NamePrefix => write!(
                f,
                "the prefix {item:?} of user names is refused: it is empty, starts with a blank or holds a character without a shape"
            ),
            Problem::LongNamePrefix => {
                write!(f, "the prefix {item:?} of user names leaves no byte for a name; see max_user_bytes")
            }
            Problem::MergedNamePrefix => {
                write!(
                    f,
                    "the prefix {item:?} of user names holds a comma, which is refused; see allow_comma"
                )
            }
            Problem::Challenge => f.write_str("the challenge is empty: a 401 must name a scheme"),
            Problem::ExemptPath => {
                write!(f, "exempt path {item:?} never matches: leave out the query and the fragment")
            }
            Problem::UserType => write!(
                f,
                "map_user may not give a {item}, which a layer of this crate leaves: wrap it in a type of your own"
            ),
        }
    }
}

impl std::error::Error for BuildError {}

/// Names that HTTP or a browser's session needs. Those in [`name::FORWARDING`] are reserved too: layers of this crate read
/// them.
const RESERVED: &[&str] = &[
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "if-match",
    "if-none-match",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

const RESERVED_PREFIXES: &[&str] = &["content-", "if-", "sec-"];

impl Config {
    pub(super) fn check(&self) -> Result<(), BuildError> {
        if let Some(part) = self.proof.impossible_part() {
            return Err(Problem::NoProof.of(part));
        }
        self.fields.check(&self.secret_headers)?;
        for kept in &self.keep {
            self.check_kept(kept)?;
        }
        if self.challenge.as_bytes().trim_ascii().is_empty() {
            return Err(Problem::Challenge.of(""));
        }
        if let Some(path) = self.exempt.never_matching() {
            return Err(Problem::ExemptPath.of(path));
        }
        match self.user_map.as_ref().and_then(UserMap::clashing_type) {
            Some(user_type) => Err(Problem::UserType.of(user_type)),
            None => Ok(()),
        }
    }

    fn check_kept(&self, kept: &HeaderName) -> Result<(), BuildError> {
        if self.is_secret(kept) {
            return Err(Problem::KeptSecret.of(kept));
        }
        if self.fields.holds(kept) {
            return if self.fields.spells(kept) { Ok(()) } else { Err(Problem::KeptAlias.of(kept)) };
        }
        let is_removed = self.on_well_known == OnWellKnown::Strip && name::is_identity(kept);
        if is_removed { Ok(()) } else { Err(Problem::KeptStranger.of(kept)) }
    }
}

impl Fields {
    /// Finds what no request could mend, beside these headers of secrets.
    pub(crate) fn check<'a>(
        &'a self,
        secret_headers: impl IntoIterator<Item = &'a HeaderName>,
    ) -> Result<(), BuildError> {
        if self.users.is_empty() {
            return Err(Problem::NoUserHeader.of("user_headers"));
        }
        let mut taken: Vec<&HeaderName> = Vec::new();
        for header in self.names().chain(secret_headers) {
            if is_reserved(header) {
                return Err(Problem::Reserved.of(header));
            }
            if taken.iter().any(|other| folds(other, header)) {
                return Err(Problem::Clash.of(header));
            }
            taken.push(header);
        }
        let needed = [RESERVED, name::FORWARDING, RESERVED_PREFIXES].concat();
        let mut prefixes: Vec<&str> = Vec::new();
        for prefix in &self.extra_prefixes {
            let covers = |header: &str| name::folds_to_prefix(header.as_bytes(), prefix.as_bytes());
            let is_usable =
                HeaderName::from_bytes(prefix.as_bytes()).is_ok_and(|prefix| !is_reserved(&prefix));
            if !is_usable || needed.iter().any(|name| covers(name)) {
                return Err(Problem::BroadPrefix.of(prefix));
            }
            if let Some(header) = taken.iter().find(|header| covers(header.as_str())) {
                return Err(Problem::Clash.of(header));
            }
            let overlaps =
                |other: &&str| covers(other) || name::folds_to_prefix(prefix.as_bytes(), other.as_bytes());
            if prefixes.iter().any(overlaps) {
                return Err(Problem::OverlappingPrefix.of(prefix));
            }
            prefixes.push(prefix);
        }
        check_values(self)
    }
}

fn check_values(fields: &Fields) -> Result<(), BuildError> {
    if let Some(separator) = fields.grouping.unusable_separator(fields.encoding) {
        return Err(Problem::Separator.of(separator));
    }
    for (bytes, knob) in
        [(fields.max_value_bytes, "max_value_bytes"), (fields.max_user_bytes(), "max_user_bytes")]
    {
        if bytes == 0 {
            return Err(Problem::NoBytes.of(knob));
        }
    }
    let has_blank_ends = |text: &str| list::trim(text.as_bytes()).len() != text.len();
    if let Some(placeholder) = fields.placeholders.iter().find(|placeholder| has_blank_ends(placeholder)) {
        return Err(Problem::Placeholder.of(placeholder));
    }
    let refuses_comma = !fields.allows_comma && matches!(fields.encoding, Encoding::Utf8 | Encoding::Latin1);
    let is_merged = |text: &str| refuses_comma && text.contains(',');
    if let Some(prefix) = &fields.prefix {
        let starts_blank = prefix.trim_start().len() != prefix.len();
        if prefix.is_empty() || starts_blank || prefix.chars().any(text::is_invisible) {
            return Err(Problem::NamePrefix.of(prefix));
        }
        if prefix.len() >= fields.max_user_bytes() {
            return Err(Problem::LongNamePrefix.of(prefix));
        }
        if is_merged(prefix) {
            return Err(Problem::MergedNamePrefix.of(prefix));
        }
    }
    if let Some(realms) = &fields.realms {
        if realms.is_empty() {
            return Err(Problem::Realm.of(""));
        }
        if let Some(realm) = realms.iter().find(|realm| !is_realm(realm) || is_merged(realm)) {
            return Err(Problem::Realm.of(realm));
        }
    }
    Ok(())
}

/// Whether a realm can be asked for.
pub(super) fn is_realm(realm: &str) -> bool {
    !realm.is_empty()
        && realm.trim().len() == realm.len()
        && !realm.contains(['@', '\\'])
        && !realm.chars().any(text::is_invisible)
}

fn is_reserved(header: &HeaderName) -> bool {
    name::is_any_of(header, RESERVED)
        || name::is_forwarding(header)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name::folds_to_prefix(header.as_str().as_bytes(), prefix.as_bytes()))
}
