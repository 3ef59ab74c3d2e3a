//! Users, from plain to impossible.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tower_proxied::DetachedUser;

/// Any user at all.
pub(crate) fn user() -> impl Strategy<Value = DetachedUser> {
    of_texts(text())
}

/// A user whom every notation carries: a realm, and texts of letters that Latin-1 has.
pub(crate) fn plain_user() -> impl Strategy<Value = DetachedUser> {
    let realm = select(vec!["CORP", "example.org", "Zürich"]);
    (of_texts("[a-zA-Z0-9é]{1,12}"), realm).prop_map(|(user, realm)| user.with_realm(realm))
}

fn of_texts<S>(text: S) -> impl Strategy<Value = DetachedUser>
where
    S: Strategy<Value = String> + Clone + 'static,
{
    let groups = prop_oneof![
        30 => vec(text.clone(), 0..4),
        1 => Just(vec!["g".to_owned(); 128]),
    ];
    let attribute = || option::of(text.clone());
    let realm = prop_oneof![1 => Just(None), 4 => option::of(text.clone())];
    let extra = btree_map(text.clone(), vec(text.clone(), 1..3), 0..3);
    (text.clone(), groups, attribute(), attribute(), attribute(), realm, extra).prop_map(
        |(name, groups, display_name, email, uid, realm, extra)| {
            let mut user = DetachedUser::new(name).with_groups(groups);
            if let Some(display_name) = display_name {
                user = user.with_display_name(display_name);
            }
            if let Some(email) = email {
                user = user.with_email(email);
            }
            if let Some(uid) = uid {
                user = user.with_uid(uid);
            }
            if let Some(realm) = realm {
                user = user.with_realm(realm);
            }
            for (key, values) in extra {
                for value in values {
                    user = user.with_extra(&*key, value);
                }
            }
            user
        },
    )
}

fn text() -> impl Strategy<Value = String> + Clone {
    let long = |char: &'static str, count| char.repeat(count);
    prop_oneof![
        24 => "[a-zA-Z0-9._-]{1,10}",
        12 => "[a-zA-Zéņ漢😀]{1,10}",
        6 => "[a-c é@,;|%=?_\"\\\\()]{1,8}",
        2 => "[a-cé\u{200b}\u{a0}\u{85}\t\r\n]{0,6}",
        1 => any::<String>(),
        1 => select(vec!["", " ", "(null)", "=?utf-8?q?admin?=", "=?", "?=", "%41", "a@CORP", "CORP\\a", "R&D\\", "A_b", "a/B"])
            .prop_map(str::to_owned),
        1 => select(vec![
            long("a", 256), long("a", 257), long("ņ", 128), long("😀", 64), long("漢", 85), long("漢", 86),
            long("=?", 128), long("ab@", 80),
        ]),
    ]
}
