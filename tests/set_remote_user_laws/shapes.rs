//! How a user is written, on both sides.

use http::HeaderName;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tower_proxied::front::SetRemoteUserLayer;
use tower_proxied::proxy_remote_user::{Encoding, Groups, Preset, ProxyRemoteUserBuilder, RealmForm};
use tower_proxied::wire::text::is_invisible;
use tower_proxied::{DetachedUser, ProxyRemoteUserLayer};

use super::{PRESETS, proof};

/// What both sides agree on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    preset: Preset,
    encoding: Option<Encoding>,
    groups: Option<Groups>,
    realm: Option<RealmForm>,
    /// Headers for everything, beyond what the preset has.
    is_full: bool,
}

pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let encodings = vec![Encoding::Utf8, Encoding::Latin1, Encoding::Percent, Encoding::Rfc2047];
    let groupings = vec![Groups::Comma, Groups::Semicolon, Groups::Pipe, Groups::PerLine];
    let realms = vec![RealmForm::AfterAt, RealmForm::BeforeBackslash];
    (
        select(PRESETS.to_vec()),
        option::of(select(encodings)),
        option::of(select(groupings)),
        prop_oneof![2 => Just(None), 1 => select(realms).prop_map(Some)],
        any::<bool>(),
    )
        .prop_map(|(preset, encoding, groups, realm, is_full)| Shape {
            preset,
            encoding,
            groups,
            realm,
            is_full,
        })
}

struct Carries {
    groups: bool,
    name: bool,
    email: bool,
    uid: bool,
    extra: bool,
}

const FULL: [HeaderName; 4] = [
    HeaderName::from_static("x-acme-groups"),
    HeaderName::from_static("x-acme-name"),
    HeaderName::from_static("x-acme-email"),
    HeaderName::from_static("x-acme-uid"),
];

impl Shape {
    pub(crate) fn writer(&self, user: &DetachedUser) -> SetRemoteUserLayer {
        let user = user.clone();
        let mut layer = SetRemoteUserLayer::from_fn(move |_| Some(user.clone())).preset(self.preset);
        if self.is_full {
            let [groups, name, email, uid] = FULL;
            layer = layer.groups_header(groups).name_header(name).email_header(email).uid_header(uid);
            if self.preset != Preset::Kubernetes {
                layer = layer.extra_prefix("X-Acme-Extra-");
            }
        }
        if let Some(encoding) = self.encoding {
            layer = layer.encoding(encoding);
        }
        if let Some(groups) = self.groups {
            layer = layer.groups(groups);
        }
        if let Some(form) = self.realm {
            layer = layer.realm(form);
        }
        layer.checked().expect("sound")
    }

    /// Where realms are written it takes this user's.
    pub(crate) fn reader(&self, user: &DetachedUser) -> ProxyRemoteUserBuilder {
        let mut builder = ProxyRemoteUserLayer::new(proof()).preset(self.preset);
        if self.is_full {
            let [groups, name, email, uid] = FULL;
            builder = builder.groups_header(groups).name_header(name).email_header(email).uid_header(uid);
            builder = builder.extra_prefix("x-acme-extra-");
        }
        if let Some(encoding) = self.encoding {
            builder = builder.encoding(encoding);
        }
        if let Some(groups) = self.groups {
            builder = builder.groups(groups);
        }
        if let Some(realm) = user.realm().filter(|_| self.realm.is_some()) {
            builder = builder.require_realm([realm]);
        }
        builder
    }

    fn carries(&self) -> Carries {
        let (groups, name, email, uid, extra) = match self.preset {
            Preset::Authelia | Preset::SetRemoteUser => (true, true, true, false, false),
            Preset::Authentik => (true, true, true, true, false),
            Preset::Oauth2Proxy => (true, false, true, false, false),
            Preset::Kubernetes => (true, false, false, true, true),
            Preset::Tailscale => (false, true, false, false, false),
            _ => (false, false, false, false, false),
        };
        let full = self.is_full;
        Carries {
            groups: groups || full,
            name: name || full,
            email: email || full,
            uid: uid || full,
            extra: extra || full,
        }
    }

    /// What of a user reaches the other side.
    pub(crate) fn carried(&self, user: &DetachedUser) -> String {
        let carries = self.carries();
        let mut carried = DetachedUser::new(user.name());
        if carries.groups {
            carried = carried.with_groups(user.groups());
        }
        if let Some(name) = user.display_name().filter(|_| carries.name) {
            carried = carried.with_display_name(name);
        }
        if let Some(email) = user.email().filter(|_| carries.email) {
            carried = carried.with_email(email);
        }
        if let Some(uid) = user.uid().filter(|_| carries.uid) {
            carried = carried.with_uid(uid);
        }
        if let Some(realm) = user.realm().filter(|_| self.realm.is_some()) {
            carried = carried.with_realm(realm);
        }
        for (key, values) in user.extra().iter().filter(|_| carries.extra) {
            for value in values {
                carried = carried.with_extra(key, value);
            }
        }
        format!("{carried:?}")
    }

    fn encoding(&self) -> Encoding {
        self.encoding.unwrap_or(match self.preset {
            Preset::Tailscale | Preset::SetRemoteUser => Encoding::Rfc2047,
            _ => Encoding::Utf8,
        })
    }

    fn separator(&self) -> Option<char> {
        let of_preset = match self.preset {
            Preset::Authentik => Groups::Pipe,
            Preset::Kubernetes => Groups::PerLine,
            _ => Groups::Comma,
        };
        match self.groups.unwrap_or(of_preset) {
            Groups::Comma => Some(','),
            Groups::Semicolon => Some(';'),
            Groups::Pipe => Some('|'),
            _ => None,
        }
    }

    /// Whether this character stands as it is in the line of this text.
    fn shows(&self, char: char, text: &str) -> bool {
        let is_encoded = match self.encoding() {
            Encoding::Percent => true,
            Encoding::Rfc2047 => !text.is_ascii() || text.contains("=?"),
            _ => false,
        };
        text.contains(char) && !is_encoded
    }

    fn is_value(&self, text: &str) -> bool {
        !text.is_empty()
            && text != "(null)"
            && text.len() <= 256
            && text.trim() == text
            && !text.chars().any(is_invisible)
            && (self.encoding() != Encoding::Latin1 || text.chars().all(|char| char <= '\u{ff}'))
    }

    fn is_alone(&self, text: &str) -> bool {
        self.is_value(text) && !self.shows(',', text)
    }
}

/// The naive twin: who can be written.
pub(crate) fn is_writable(user: &DetachedUser, shape: &Shape) -> bool {
    let carries = shape.carries();
    let prefix = if shape.preset == Preset::GoogleIap { "accounts.google.com:" } else { "" };
    let is_name = |name: &str| !name.is_empty() && name != "(null)" && name.trim() == name;
    let login = match (shape.realm, user.realm()) {
        (None, _) => user.name().to_owned(),
        (Some(RealmForm::AfterAt), Some(realm)) => format!("{}@{realm}", user.name()),
        (Some(_), Some(realm)) => format!("{realm}\\{}", user.name()),
        (Some(_), None) => return false,
    };
    let is_clear = |text: &str| !text.is_empty() && !text.contains(['@', '\\']);
    let is_unambiguous = shape.realm.is_none()
        || (is_clear(user.name())
            && user.realm().is_some_and(|realm| is_clear(realm) && realm.trim() == realm));
    let is_name_sound = is_name(user.name())
        && is_unambiguous
        && is_name(&login)
        && shape.is_alone(&format!("{prefix}{login}"));
    let is_group = |group: &str| {
        shape.is_value(group) && shape.separator().is_none_or(|separator| !shape.shows(separator, group))
    };
    // The separator behind it would seem to be a part of the group.
    let escapes = |group: &str| group.ends_with('\\') && shape.shows('\\', group);
    let others = user.groups().take(user.groups().len().saturating_sub(1));
    let are_apart = shape.separator().is_none() || !others.into_iter().any(escapes);
    let is_attribute = |key: &str, values: &[String]| {
        (1..=256).contains(&key.len())
            && key.trim() == key
            && !key.chars().any(is_invisible)
            && values.iter().all(|value| shape.is_value(value))
    };
    is_name_sound
        && (!carries.groups || (user.groups().len() <= 128 && user.groups().all(is_group) && are_apart))
        && (!carries.name || user.display_name().is_none_or(|name| shape.is_value(name)))
        && (!carries.email || user.email().is_none_or(|email| shape.is_alone(email)))
        && (!carries.uid || user.uid().is_none_or(|uid| shape.is_alone(uid)))
        && (!carries.extra || user.extra().iter().all(|(key, values)| is_attribute(key, values)))
}
