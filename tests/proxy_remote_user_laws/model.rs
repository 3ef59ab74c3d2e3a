//! The specification once more, as a program that is slow and easy to read.

use std::collections::BTreeMap;

use tower_proxied::proxy_remote_user::{Encoding, Groups, ProofKind};
use tower_proxied::{Anonymous, Identity, PeerAddr, RefusalKind};

use crate::requests::Sent;
use crate::told::{SECRETS, SIGNATURE, Told, Tree};

pub(crate) const WELL_KNOWN: &[&str] = &[
    "remote-user",
    "remote-group",
    "remote-groups",
    "remote-name",
    "remote-email",
    "x-remote-user",
    "x-remote-uid",
    "x-remote-group",
    "x-remote-groups",
    "x-remote-name",
    "x-remote-email",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-displayname",
    "x-forwarded-mail",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-webauth-user",
    "x-webauth-name",
    "x-webauth-email",
    "x-webauth-role",
    "x-webauth-groups",
    "x-webauth-fullname",
    "sm-user",
    "x-pomerium-claim-email",
    "client-cert",
    "client-cert-chain",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
];

pub(crate) const WELL_KNOWN_FAMILIES: &[&str] = &[
    "x-remote-extra-",
    "x-authentik-",
    "tailscale-user-",
    "x-goog-authenticated-user-",
    "x-amzn-oidc-identity",
    "x-ms-client-principal",
];

/// [`Identity`], comparable.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Who {
    Nobody(Anonymous),
    User { user: Box<User>, proven_by: Vec<ProofKind> },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct User {
    name: String,
    groups: Vec<String>,
    display_name: Option<String>,
    email: Option<String>,
    uid: Option<String>,
    realm: Option<String>,
    extra: BTreeMap<String, Vec<String>>,
}

const KINDS: [ProofKind; 4] =
    [ProofKind::Peer, ProofKind::SharedSecret, ProofKind::ClientCert, ProofKind::Verify];

impl From<&Identity> for Who {
    fn from(identity: &Identity) -> Self {
        let user = match identity {
            Identity::Anonymous(reason) => return Self::Nobody(*reason),
            Identity::User(user) => user,
        };
        assert!(!user.proven_by().includes(ProofKind::Test), "a user whom no layer proved");
        let text = |text: Option<&str>| text.map(str::to_owned);
        Self::User {
            user: Box::new(User {
                name: user.name().to_owned(),
                groups: user.groups().map(str::to_owned).collect(),
                display_name: text(user.display_name()),
                email: text(user.email()),
                uid: text(user.uid()),
                realm: text(user.realm()),
                extra: user.extra().clone(),
            }),
            proven_by: KINDS.into_iter().filter(|kind| user.proven_by().includes(*kind)).collect(),
        }
    }
}

pub(crate) type Headers = BTreeMap<String, Vec<Vec<u8>>>;

/// Who it is and what headers the inner service sees, or the refusal.
pub(crate) fn expected(told: &Told, sent: &Sent) -> Result<(Who, Headers), RefusalKind> {
    let mut headers = Headers::new();
    for (name, value) in &sent.lines {
        headers.entry(name.to_ascii_lowercase()).or_default().push(value.clone());
    }
    let proven_by = shown(&told.proof, sent, &headers);
    let judged = match &proven_by {
        None if told.refuses_forged && headers.keys().any(|name| told.protects(name)) => {
            Err(RefusalKind::IdentityForged)
        }
        None if sent.peer.is_none() && told.proof.asks_for_peer() => Ok(Err(Anonymous::NoPeer)),
        None => Ok(Err(Anonymous::Unproven)),
        Some(_) if told.refuses_aliases && headers.keys().any(|name| told.is_alias(name)) => {
            Err(RefusalKind::IdentityMalformed)
        }
        Some(_) => told.read(&headers).map(|user| user.ok_or(Anonymous::Absent)),
    };
    let keeps = proven_by.is_some() && judged.is_ok();
    headers.retain(|name, _| !told.protects(name) || (keeps && told.keep.contains(&&**name)));
    let found = match judged {
        Ok(found) => found,
        Err(_) if sent.is_exempt() => Err(Anonymous::Exempt),
        Err(kind) => return Err(kind),
    };
    let who = match (found, proven_by) {
        (Ok(user), Some(proven_by)) => {
            if told.forwards {
                told.forward(&user, &mut headers);
            }
            if told.strips_authorization {
                headers.remove("authorization");
            }
            Who::User {
                user: Box::new(user),
                proven_by: KINDS.into_iter().filter(|kind| proven_by.contains(kind)).collect(),
            }
        }
        (Err(reason), _) => {
            if told.is_required && !sent.is_exempt() {
                return Err(match reason {
                    Anonymous::Absent => RefusalKind::NotAuthenticated,
                    _ => RefusalKind::NotProven,
                });
            }
            Who::Nobody(reason)
        }
        (Ok(_), None) => unreachable!("nothing is read without a proof"),
    };
    Ok((who, headers))
}

/// The kinds of proof that were shown, where that is enough.
pub(crate) fn shown(proof: &Tree, sent: &Sent, headers: &Headers) -> Option<Vec<ProofKind>> {
    let (is_shown, kind) = match proof {
        Tree::Never => return None,
        Tree::Peer => {
            let is_proxy = |peer: &PeerAddr| peer.ip().is_some_and(|ip| ip.to_string() == "10.0.0.5");
            (sent.peer.as_ref().is_some_and(is_proxy), ProofKind::Peer)
        }
        Tree::Secret(at) => {
            let (header, secrets) = SECRETS[*at];
            let lines = headers.get(header).map_or(&[][..], Vec::as_slice);
            let is_right = |line: &[u8]| secrets.iter().any(|secret| secret.as_bytes() == trimmed(line));
            (matches!(lines, [line] if is_right(line)), ProofKind::SharedSecret)
        }
        Tree::Cert => (sent.has_cert, ProofKind::ClientCert),
        Tree::Verify => {
            let is_good = headers.get(SIGNATURE).is_some_and(|lines| lines[0] == b"good");
            (is_good, ProofKind::Verify)
        }
        Tree::And(a, b) => return Some([shown(a, sent, headers)?, shown(b, sent, headers)?].concat()),
        Tree::Or(a, b) => return shown(a, sent, headers).or_else(|| shown(b, sent, headers)),
    };
    is_shown.then(|| vec![kind])
}

impl Told {
    /// The configured headers that have one name.
    fn names(&self) -> Vec<&'static str> {
        let own = [self.groups, self.name, self.email, self.uid];
        self.users.iter().copied().chain(own.into_iter().flatten()).collect()
    }

    /// Whether the layer takes an identity or a secret from a header of exactly this name.
    pub(crate) fn reads(&self, name: &str) -> bool {
        self.names().contains(&name)
            || self.proof.secret_headers().contains(&name)
            || self.extra.is_some_and(|prefix| name.starts_with(prefix))
    }

    pub(crate) fn protects(&self, name: &str) -> bool {
        let is_own =
            self.names().into_iter().chain(self.proof.secret_headers()).any(|own| fold(own) == fold(name));
        let is_of_own_family = self.extra.is_some_and(|prefix| fold(name).starts_with(&fold(prefix)));
        is_own || is_of_own_family || is_well_known(name)
    }

    fn is_alias(&self, name: &str) -> bool {
        let own = || self.names().into_iter().chain(self.proof.secret_headers());
        let is_same = own().any(|own| fold(own) == fold(name))
            || self.extra.is_some_and(|prefix| fold(name).starts_with(&fold(prefix)));
        is_same && !self.reads(name)
    }

    fn read(&self, headers: &Headers) -> Result<Option<User>, RefusalKind> {
        let malformed = RefusalKind::IdentityMalformed;
        let mut named = Vec::new();
        for header in &self.users {
            named.extend(self.only(headers, Some(header), true)?);
        }
        let Some(mut name) = named.first().cloned() else { return Ok(None) };
        if named.iter().any(|other| *other != name) {
            return Err(malformed);
        }
        if let Some(prefix) = self.prefix {
            name = name.strip_prefix(prefix).ok_or(malformed)?.to_owned();
            self.must_be_a_name(&name)?;
        }
        let mut realm = None;
        if let Some(realms) = &self.realms {
            let signs = name.chars().filter(|char| ['@', '\\'].contains(char)).count();
            let (own, of) = match (name.split_once('@'), name.split_once('\\')) {
                (Some((name, realm)), None) if signs == 1 => (name, realm),
                (None, Some((realm, name))) if signs == 1 => (name, realm),
                _ => return Err(malformed),
            };
            self.must_be_a_name(own)?;
            if of.is_empty() {
                return Err(malformed);
            }
            if !realms.contains(&of) {
                return Err(RefusalKind::ForeignRealm);
            }
            realm = Some(of.to_owned());
            name = own.to_owned();
        }
        Ok(Some(User {
            name,
            groups: self.read_groups(headers)?,
            display_name: self.only(headers, self.name, false)?,
            email: self.only(headers, self.email, true)?,
            uid: self.only(headers, self.uid, true)?,
            realm,
            extra: self.read_extra(headers)?,
        }))
    }

    fn must_be_a_name(&self, name: &str) -> Result<(), RefusalKind> {
        let is_name = !self.is_nobody(name) && name.trim() == name;
        if is_name { Ok(()) } else { Err(RefusalKind::IdentityMalformed) }
    }

    fn is_nobody(&self, text: &str) -> bool {
        text.is_empty() || self.placeholders.contains(&text)
    }

    /// The value of a header that must stand in one line.
    fn only(
        &self,
        headers: &Headers,
        name: Option<&str>,
        is_unmerged: bool,
    ) -> Result<Option<String>, RefusalKind> {
        match name.and_then(|name| headers.get(name)).map(Vec::as_slice) {
            None => Ok(None),
            Some([line]) if is_unmerged && !self.allows_comma && line.contains(&b',') => {
                Err(RefusalKind::IdentityMalformed)
            }
            Some([line]) => self.value(line),
            Some(_) => Err(RefusalKind::IdentityMalformed),
        }
    }

    fn read_groups(&self, headers: &Headers) -> Result<Vec<String>, RefusalKind> {
        let Some(lines) = self.groups.and_then(|name| headers.get(name)) else { return Ok(Vec::new()) };
        let items: Vec<Vec<u8>> = match self.separator() {
            None => lines.clone(),
            Some(_) if lines.len() > 1 => return Err(RefusalKind::IdentityMalformed),
            Some(separator) => lines[0].split(|byte| *byte == separator).map(<[u8]>::to_vec).collect(),
        };
        let escapes = |item: &Vec<u8>| trimmed(item).ends_with(b"\\");
        if self.separator().is_some() && items.iter().rev().skip(1).any(escapes) {
            return Err(RefusalKind::IdentityMalformed);
        }
        let mut groups = Vec::new();
        for item in items {
            groups.extend(self.value(&item)?);
        }
        if groups.len() > self.max_groups { Err(RefusalKind::IdentityMalformed) } else { Ok(groups) }
    }

    fn read_extra(&self, headers: &Headers) -> Result<BTreeMap<String, Vec<String>>, RefusalKind> {
        let mut extra = BTreeMap::new();
        for (name, lines) in headers {
            let Some(key) = self.extra.and_then(|prefix| name.strip_prefix(prefix)) else { continue };
            if key.is_empty() {
                continue;
            }
            let decoded = percent(key.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok());
            let key = decoded.unwrap_or_else(|| key.to_owned());
            let mut values = Vec::new();
            for line in lines {
                values.extend(self.value(line)?);
            }
            if key.trim() != key || key.chars().any(is_invisible) || extra.insert(key, values).is_some() {
                return Err(RefusalKind::IdentityMalformed);
            }
        }
        // A key whose values all stand for nobody says nothing.
        extra.retain(|_, values: &mut Vec<String>| !values.is_empty());
        Ok(extra)
    }

    fn value(&self, line: &[u8]) -> Result<Option<String>, RefusalKind> {
        let line = trimmed(line);
        let text = match self.encoding {
            Encoding::Latin1 => Some(line.iter().copied().map(char::from).collect()),
            Encoding::Percent => percent(line).and_then(|bytes| String::from_utf8(bytes).ok()),
            _ => String::from_utf8(line.to_vec()).ok(),
        };
        let text: String = text.ok_or(RefusalKind::IdentityMalformed)?;
        if self.is_nobody(&text) {
            return Ok(None);
        }
        let is_clean = text.trim() == text && !text.chars().any(is_invisible);
        if is_clean && text.len() <= self.max_value_bytes {
            Ok(Some(text))
        } else {
            Err(RefusalKind::IdentityMalformed)
        }
    }

    fn separator(&self) -> Option<u8> {
        match self.grouping {
            Groups::Comma => Some(b','),
            Groups::Semicolon => Some(b';'),
            Groups::Pipe => Some(b'|'),
            _ => None,
        }
    }

    fn forward(&self, user: &User, headers: &mut Headers) {
        for own in self.names() {
            headers.remove(own);
        }
        for field in ["connection", "proxy-connection", "trailer"] {
            self.unlist(headers, field);
        }
        if let Some(family) = self.extra {
            headers.retain(|name, _| !fold(name).starts_with(&fold(family)));
        }
        let mut put = |name: &str, lines: Vec<Vec<u8>>| {
            if !lines.is_empty() {
                headers.insert(name.to_owned(), lines);
            }
        };
        let realm = user.realm.as_ref().map(|realm| format!("@{realm}")).unwrap_or_default();
        let login = format!("{}{}{realm}", self.prefix.unwrap_or_default(), user.name);
        put(self.users[0], vec![self.encoded(&login)]);
        if let Some(header) = self.groups {
            let groups: Vec<_> = user.groups.iter().map(|group| self.encoded(group)).collect();
            put(
                header,
                match self.separator() {
                    Some(separator) if !groups.is_empty() => vec![groups.join(&separator)],
                    _ => groups,
                },
            );
        }
        let attributes = [(self.name, &user.display_name), (self.email, &user.email), (self.uid, &user.uid)];
        for (header, text) in attributes {
            if let (Some(header), Some(text)) = (header, text) {
                put(header, vec![self.encoded(text)]);
            }
        }
        for (key, values) in user.extra.iter().filter(|_| self.extra.is_some()) {
            let key: String = key.bytes().map(in_a_name).collect();
            let lines = values.iter().map(|value| self.encoded(value)).collect();
            put(&format!("{}{key}", self.extra.unwrap_or_default()), lines);
        }
    }

    /// Takes protected names out of a list of names, and what is no name.
    fn unlist(&self, headers: &mut Headers, field: &str) {
        let options: Vec<Vec<u8>> = headers
            .get(field)
            .into_iter()
            .flatten()
            .flat_map(|line| line.split(|byte| *byte == b','))
            .map(|option| trimmed(option).to_vec())
            .filter(|option| !option.is_empty())
            .collect();
        let goes = |option: &Vec<u8>| {
            let is_name =
                option.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
            !is_name || self.protects(&String::from_utf8(option.to_ascii_lowercase()).unwrap())
        };
        if options.iter().any(goes) {
            let kept: Vec<_> = options.into_iter().filter(|option| !goes(option)).collect();
            headers.remove(field);
            if !kept.is_empty() {
                headers.insert(field.into(), vec![kept.join(&b", "[..])]);
            }
        }
    }

    fn encoded(&self, text: &str) -> Vec<u8> {
        match self.encoding {
            Encoding::Latin1 => text.chars().map(|char| u8::try_from(char).unwrap()).collect(),
            Encoding::Percent => text
                .bytes()
                .flat_map(|byte| match byte {
                    b'-' | b'.' | b'_' | b'~' | b'@' => vec![byte],
                    byte if byte.is_ascii_alphanumeric() => vec![byte],
                    byte => format!("%{byte:02X}").into_bytes(),
                })
                .collect(),
            _ => text.as_bytes().to_vec(),
        }
    }
}

fn in_a_name(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
        byte => format!("%{byte:02x}"),
    }
}

pub(crate) fn is_well_known(name: &str) -> bool {
    WELL_KNOWN.iter().any(|known| fold(known) == fold(name))
        || WELL_KNOWN_FAMILIES.iter().any(|family| fold(name).starts_with(&fold(family)))
}

fn fold(name: &str) -> String {
    name.to_lowercase().replace(|char: char| !char.is_ascii_alphanumeric(), "-")
}

fn trimmed(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

fn percent(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'%' {
            let digits = std::str::from_utf8(text.get(at + 1..at + 3)?).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            decoded.push(text[at]);
            at += 1;
        }
    }
    Some(decoded)
}

/// Unicode's categories Cc and Cf.
fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(u32::from(char),
            0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180e | 0x200b..=0x200f
            | 0x202a..=0x202e | 0x2060..=0x2064 | 0x2066..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0x110bd | 0x110cd
            | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0001 | 0xe0020..=0xe007f)
}
