use std::fmt;

use crate::refusal::{Refusal, RefusalKind};

/// What exactly was wrong with the identity that a proven proxy sent: which [`Role`] broke which [`Rule`].
///
/// It stands in the [`Refusal`] among the extensions of the response, and its text, which is one of a fixed set, is in
/// the body. Neither holds anything of the request.
///
/// # Example
///
/// ```
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt};
/// use tower_proxied::proxy_remote_user::{Role, Rule};
/// use tower_proxied::{PeerAddr, Proof, ProxyRemoteUserLayer, Refusal, TrustedProxies};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = ServiceBuilder::new()
///     .layer(PeerAddr::layer(PeerAddr::Tcp(([10, 0, 0, 5], 4711).into())))
///     .layer(ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::parse(["10.0.0.5"])?)).build()?)
///     .service_fn(|_: Request<()>| async { Ok::<_, std::convert::Infallible>(Response::new(())) });
/// let request = Request::builder().header("remote-user", "alice").header("remote-user", "admin").body(())?;
/// let response = app.oneshot(request).await?;
/// let fault = response.extensions().get::<Refusal>().and_then(Refusal::identity_fault).expect("refused");
/// assert_eq!((fault.role(), fault.rule()), (Role::User, Rule::SeveralLines));
/// assert_eq!(fault.to_string(), "user: several lines; the proxy must replace what the client sent");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdentityFault {
    role: Role,
    rule: Rule,
}

impl IdentityFault {
    /// Whose header it is.
    pub fn role(self) -> Role {
        self.role
    }

    /// What is wrong with it.
    pub fn rule(self) -> Rule {
        self.rule
    }

    pub(crate) fn sentence(self) -> &'static str {
        sentence(self.role, self.rule)
    }
}

impl fmt::Display for IdentityFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.role, self.rule)
    }
}

impl From<IdentityFault> for Refusal {
    fn from(fault: IdentityFault) -> Self {
        let kind = match fault.rule {
            Rule::ForeignRealm => RefusalKind::ForeignRealm,
            _ => RefusalKind::IdentityMalformed,
        };
        Self::from(kind).with_identity_fault(fault)
    }
}

/// What an identity header is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The name under which the user logs in.
    User,
    /// The groups.
    Groups,
    /// The name for display.
    Name,
    /// The address for mail.
    Email,
    /// The id that stays when the name changes.
    Uid,
    /// A further attribute, by prefix.
    Extra,
    /// The secret that proves the proxy.
    Secret,
}

impl Role {
    /// For `map_err`.
    pub(super) fn broke(self) -> impl Fn(Rule) -> IdentityFault {
        move |rule| IdentityFault { role: self, rule }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::User => "user",
            Self::Groups => "groups",
            Self::Name => "name",
            Self::Email => "email",
            Self::Uid => "uid",
            Self::Extra => "extra",
            Self::Secret => "secret",
        })
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident => $text:literal;)+) => {
        /// What an identity header must keep to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[$doc])* $rule,)+
        }

        impl fmt::Display for Rule {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$rule => $text,)+
                })
            }
        }

        fn sentence(role: Role, rule: Rule) -> &'static str {
            match (rule, role) {$(
                (Rule::$rule, Role::User) => concat!("identity malformed: user: ", $text),
                (Rule::$rule, Role::Groups) => concat!("identity malformed: groups: ", $text),
                (Rule::$rule, Role::Name) => concat!("identity malformed: name: ", $text),
                (Rule::$rule, Role::Email) => concat!("identity malformed: email: ", $text),
                (Rule::$rule, Role::Uid) => concat!("identity malformed: uid: ", $text),
                (Rule::$rule, Role::Extra) => concat!("identity malformed: extra: ", $text),
                (Rule::$rule, Role::Secret) => concat!("identity malformed: secret: ", $text),
            )+}
        }

        #[cfg(test)]
        const ALL: &[Rule] = &[$(Rule::$rule),+];
    };
}

rules! {
    /// One line is allowed, and several came: the proxy added its own to the client's.
    SeveralLines => "several lines; the proxy must replace what the client sent";
    /// A comma: two lines were merged, or [`allow_comma`](super::ProxyRemoteUserBuilder::allow_comma) is missing.
    Comma => "a comma, as in two lines that were merged; see allow_comma";
    /// Bytes that the [`Encoding`](super::Encoding) does not allow.
    Undecodable => "bytes that the configured encoding does not allow";
    /// A control or format character.
    InvisibleCharacter => "a control or format character";
    /// White space at its ends, once it is decoded.
    BlankEnds => "white space at its ends once it is decoded";
    /// More bytes than allowed.
    TooLong => "too long; see max_user_bytes and max_value_bytes";
    /// More groups than allowed.
    TooMany => "too many; see max_groups";
    /// A group that ends in a backslash, before a separator: is the separator a part of the group?
    EscapedSeparator => "a separator behind a backslash; see Groups::PerLine";
    /// Two user headers name different users.
    Disagreement => "two headers name different users";
    /// The prefix that names must have is absent.
    PrefixMissing => "without the prefix that require_prefix asks for";
    /// Neither `name@REALM` nor `REALM\name`, or both.
    RealmSyntax => "not exactly one realm; see require_realm";
    /// A realm that is not on the list: [`RefusalKind::ForeignRealm`], 403.
    ForeignRealm => "a realm that is not accepted here";
    /// Nothing is left once prefix and realm are off, or a placeholder.
    NobodyLeft => "nobody is left once prefix and realm are off";
    /// The key of an extra attribute in two spellings.
    TwoSpellings => "one key in two spellings";
    /// Another spelling of a configured header, with [`OnAlias::Refuse`](super::OnAlias::Refuse).
    Alias => "its header came in another spelling";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sentence of the body is the text of the fault, and legal as a `grpc-message`.
    #[test]
    fn every_sentence_names_role_and_rule() {
        let roles = [Role::User, Role::Groups, Role::Name, Role::Email, Role::Uid, Role::Extra, Role::Secret];
        for role in roles {
            for rule in ALL {
                let fault = role.broke()(*rule);
                assert_eq!(fault.sentence(), format!("identity malformed: {fault}"));
                assert!(fault.sentence().bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%'));
            }
        }
    }

    #[test]
    fn a_refusal_stays_small() {
        let bare = size_of::<(RefusalKind, Option<(http::HeaderName, http::HeaderValue)>)>();
        assert!(size_of::<Refusal>() <= bare + size_of::<usize>());
    }
}
