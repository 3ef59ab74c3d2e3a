use std::fmt;
use std::sync::Arc;

use http::request;

use crate::proxy_remote_user::{CHALLENGE, Identity, RemoteUser, refuse_nobody};
use crate::refusal::{Refusal, RefusalKind};

/// Somebody who may change the members of a pool.
///
/// It stands in the extensions of all answers that [`StickyAdmin`](super::StickyAdmin) gives to an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operator(Arc<str>);

impl Operator {
    /// The id must be another one for each person: the forms of one operator are of no use to the others.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.0
    }

    /// Takes the users of [`ProxyRemoteUser`](crate::ProxyRemoteUser) who are in this group; case counts. The id is the
    /// name, or `name@REALM` where the user has a realm.
    ///
    /// It refuses as [`RequireGroup`](crate::proxy_remote_user::RequireGroup) does: [`RefusalKind::IdentityMissing`] where
    /// the layer is missing, [`RefusalKind::NotAuthenticated`] or [`RefusalKind::NotProven`] of nobody, else
    /// [`RefusalKind::NotInGroup`].
    pub fn in_group(
        group: impl Into<Box<str>>,
    ) -> impl Fn(&request::Parts) -> Result<Self, Refusal> + Send + Sync + 'static {
        let group = group.into();
        move |parts| {
            let user = user(parts)?;
            if user.in_group(&group) { Ok(Self::of(user)) } else { Err(RefusalKind::NotInGroup.into()) }
        }
    }

    /// Takes the users of [`ProxyRemoteUser`](crate::ProxyRemoteUser) with these names; case counts. A user of a realm
    /// must stand there as `name@REALM`.
    ///
    /// It refuses as [`in_group`](Self::in_group) does, and others with [`RefusalKind::NotOperator`].
    pub fn named<I>(names: I) -> impl Fn(&request::Parts) -> Result<Self, Refusal> + Send + Sync + 'static
    where
        I: IntoIterator,
        I::Item: Into<Box<str>>,
    {
        let names: Vec<Box<str>> = names.into_iter().map(Into::into).collect();
        move |parts| {
            let operator = Self::of(user(parts)?);
            let is_named = names.iter().any(|name| **name == *operator.0);
            if is_named { Ok(operator) } else { Err(RefusalKind::NotOperator.into()) }
        }
    }

    fn of(user: &RemoteUser) -> Self {
        match user.realm() {
            Some(realm) => Self::new(format!("{}@{realm}", user.name())),
            None => Self::new(user.name()),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn user(parts: &request::Parts) -> Result<&RemoteUser, Refusal> {
    match parts.extensions.get::<Identity>() {
        None => Err(RefusalKind::IdentityMissing.into()),
        Some(Identity::Anonymous(why)) => Err(refuse_nobody(*why, &CHALLENGE)),
        Some(Identity::User(user)) => Ok(user),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::proxy_remote_user::{Anonymous, DetachedUser};

    fn judged(
        judge: impl Fn(&request::Parts) -> Result<Operator, Refusal>,
        identity: Option<Identity>,
    ) -> Result<String, RefusalKind> {
        let (mut parts, ()) = Request::new(()).into_parts();
        if let Some(identity) = identity {
            parts.extensions.insert(identity);
        }
        judge(&parts).map(|operator| operator.to_string()).map_err(|refusal| refusal.kind())
    }

    fn user(user: DetachedUser) -> Option<Identity> {
        Some(Identity::User(RemoteUser::for_test(user)))
    }

    #[test]
    fn by_group() {
        let of = |identity| judged(Operator::in_group("ops"), identity);
        assert_eq!(of(user(DetachedUser::new("alice").with_groups(["dev", "ops"]))), Ok("alice".to_owned()));
        assert_eq!(of(user(DetachedUser::new("ops").with_groups(["Ops"]))), Err(RefusalKind::NotInGroup));
        assert_eq!(of(Some(Identity::Anonymous(Anonymous::Absent))), Err(RefusalKind::NotAuthenticated));
        assert_eq!(of(Some(Identity::Anonymous(Anonymous::Unproven))), Err(RefusalKind::NotProven));
        assert_eq!(of(None), Err(RefusalKind::IdentityMissing));
    }

    #[test]
    fn by_name_and_realm() {
        let of = |identity| judged(Operator::named(["alice", "bob@CORP"]), identity);
        assert_eq!(of(user(DetachedUser::new("alice"))), Ok("alice".to_owned()));
        assert_eq!(of(user(DetachedUser::new("bob").with_realm("CORP"))), Ok("bob@CORP".to_owned()));
        for (name, realm) in [("alice", Some("EVIL")), ("bob", None), ("bob", Some("corp")), ("Alice", None)]
        {
            let other = DetachedUser::new(name);
            let other = user(realm.into_iter().fold(other, DetachedUser::with_realm));
            assert_eq!(of(other), Err(RefusalKind::NotOperator), "{name} {realm:?}");
        }
        assert_eq!(of(Some(Identity::Anonymous(Anonymous::Absent))), Err(RefusalKind::NotAuthenticated));
        assert_eq!(
            judged(Operator::named([""; 0]), user(DetachedUser::new("alice"))),
            Err(RefusalKind::NotOperator)
        );
    }
}
