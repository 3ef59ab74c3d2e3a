use std::fmt;
use std::io;

use super::super::token::{Key, from_hexadecimal, hexadecimal};
use super::Operator;

/// Makes the tokens of forms, and knows its own.
pub(super) struct FormKey(Key);

/// What a token is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose<'a> {
    pub(super) member: &'a str,
    pub(super) action: &'a str,
    pub(super) operator: &'a Operator,
}

impl FormKey {
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(Key::new(&bytes)))
    }

    /// `revision.mac`
    pub(super) fn token(&self, revision: u64, purpose: Purpose<'_>) -> Option<String> {
        let revision = revision.to_string();
        let mac = hexadecimal(self.0.mac(parts(&revision, purpose))?);
        Some(format!("{revision}.{mac}"))
    }

    /// The revision of a token that is for this purpose.
    pub(super) fn revision(&self, token: &str, purpose: Purpose<'_>) -> Option<u64> {
        let (revision, given) = token.split_once('.')?;
        let given = from_hexadecimal(given.as_bytes())?;
        hmac::Mac::verify_truncated_left(self.0.mac(parts(revision, purpose))?, &given).ok()?;
        revision.parse().ok()
    }
}

impl fmt::Debug for FormKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormKey(..)")
    }
}

/// Only the last may hold a NUL, so that no two lists of parts read alike: a revision that comes with a token has none
/// once it is known to be a number, and the route is a member's.
fn parts<'a>(revision: &'a str, purpose: Purpose<'a>) -> [&'a str; 5] {
    ["tower-proxied sticky-admin 1", revision, purpose.action, purpose.member, purpose.operator.id()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_hold_for_one_purpose_at_one_revision() {
        let key = FormKey::random().unwrap();
        let [alice, bob] = ["alice", "bob"].map(Operator::new);
        let purpose = Purpose { member: "a", action: "drain", operator: &alice };
        let token = key.token(7, purpose).unwrap();
        assert_eq!(key.revision(&token, purpose), Some(7));
        assert_eq!(key.revision(&token, Purpose { member: "b", ..purpose }), None);
        assert_eq!(key.revision(&token, Purpose { action: "stop", ..purpose }), None);
        assert_eq!(key.revision(&token, Purpose { operator: &bob, ..purpose }), None);
        assert_eq!(FormKey::random().unwrap().revision(&token, purpose), None, "another process");
        for forged in [
            "".to_owned(),
            ".".to_owned(),
            token.replacen('7', "8", 1),
            token.replacen('7', "+7", 1),
            token.replacen('7', "07", 1),
            token.to_uppercase().replace(|digit: char| !digit.is_ascii_uppercase(), "A"),
            token[..token.len() - 2].to_owned(),
            token[2..].to_owned(),
            format!("{token}0"),
            format!("{token}00"),
            format!(" {token}"),
            "7.".to_owned(),
        ] {
            assert_eq!(key.revision(&forged, purpose), None, "{forged}");
        }
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", FormKey::random().unwrap()), "FormKey(..)");
    }
}
