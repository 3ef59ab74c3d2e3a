//! An application's own login, without a database: a table of names, hashes of passwords, and groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use tower_proxied::DetachedUser;

/// Clones share the table.
#[derive(Clone)]
pub(crate) struct Accounts(Arc<BTreeMap<&'static str, Account>>);

struct Account {
    /// A PHC string, as password-auth's `generate_hash` writes it: algorithm, cost and salt stand in it.
    hash: &'static str,
    groups: &'static [&'static str],
}

/// For names that nobody has: they must take as long as the others.
const NOBODYS_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$NbBarbv0TO5sVjAYOhAryw$rVkr/3b+X7BrCdRcCXcDFfMC3NYqAHGjGpmd1U4Oiok";

impl Accounts {
    /// Carol and Dave, with passwords that everybody knows.
    pub(crate) fn example() -> Self {
        // `looking-glass`
        let carol = Account {
            hash: "$argon2id$v=19$m=19456,t=2,p=1$KnoVzfl+urOxzirWAW3SnQ$SrUZZSBPrixeIG694ZllIvF5xhmVmO2FXMMwmjGsNaw",
            groups: &["ops", "chess"],
        };
        // `tweedle`
        let dave = Account {
            hash: "$argon2id$v=19$m=19456,t=2,p=1$JtdMIJsHrXtwSu+mjTBKcA$Sz5BUhRJ53tNuEow1zSHutmNAdwCWQy5zZ0xE9B/4XQ",
            groups: &[],
        };
        Self(Arc::new(BTreeMap::from([("carol", carol), ("dave", dave)])))
    }

    /// The user of this name, if this is the password. `verify_password` compares in constant time.
    pub(crate) async fn login(&self, name: &str, password: &str) -> Option<DetachedUser> {
        let account = self.0.get_key_value(name);
        let hash = account.map_or(NOBODYS_HASH, |(_, account)| account.hash);
        let password = password.to_owned();
        // Hashing takes tens of milliseconds of a processor.
        let verified =
            tokio::task::spawn_blocking(move || password_auth::verify_password(password, hash)).await;
        let (name, account) = account?;
        matches!(verified, Ok(Ok(())))
            .then(|| DetachedUser::new(*name).with_groups(account.groups.iter().copied()))
    }
}
