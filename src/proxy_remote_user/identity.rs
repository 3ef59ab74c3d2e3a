use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::proof::{Proven, ProvenBy};
use super::text_list::TextList;
use crate::wire::ShortText;

/// Who sent the request, as far as the proxy proved it: the extension that
/// [`ProxyRemoteUser`](crate::ProxyRemoteUser) leaves in every request.
///
/// # Example
///
/// ```
/// use tower_proxied::{Anonymous, Identity};
///
/// let identity = Identity::Anonymous(Anonymous::Absent);
/// assert!(identity.is_anonymous());
/// assert!(identity.user().is_none());
/// assert_eq!(identity.to_string(), "anonymous: absent");
/// ```
///
/// Its text is for logs: `user "alice"`, with control characters escaped, or `anonymous: unproven`. What a
/// template shows is the user's own text.
///
/// # In axum and in tonic
///
/// With feature `axum`, a handler takes it as an argument: 500 without the layer. In tonic it is in the extensions of
/// the request, for a handler as for an interceptor:
///
/// ```
/// use tonic::{Code, Request, Status};
/// use tower_proxied::Identity;
///
/// fn ops_alone(request: Request<()>) -> Result<Request<()>, Status> {
///     match request.extensions().get::<Identity>() {
///         Some(Identity::User(user)) if user.in_group("ops") => Ok(request),
///         Some(Identity::User(_)) => Err(Status::permission_denied("only for ops")),
///         Some(Identity::Anonymous(_)) => Err(Status::unauthenticated("nobody is logged in")),
///         None => Err(Status::internal("ProxyRemoteUserLayer is missing")),
///     }
/// }
///
/// // Server::builder()
/// //     .layer(ProxyRemoteUserLayer::new(proof).build()?)
/// //     .add_service(HealthServer::with_interceptor(health, ops_alone))
/// # use tower_proxied::{DetachedUser, RemoteUser};
/// assert_eq!(ops_alone(Request::new(())).unwrap_err().code(), Code::Internal);
/// let mut request = Request::new(());
/// let alice = RemoteUser::for_test(DetachedUser::new("alice").with_groups(["ops"]));
/// request.extensions_mut().insert(Identity::User(alice));
/// assert!(ops_alone(request).is_ok());
/// ```
#[derive(Clone, Debug)]
pub enum Identity {
    /// The proxy named this user.
    User(RemoteUser),
    /// Nobody, and why.
    Anonymous(Anonymous),
}

impl Identity {
    /// The user, if there is one.
    pub fn user(&self) -> Option<&RemoteUser> {
        match self {
            Self::User(user) => Some(user),
            Self::Anonymous(_) => None,
        }
    }

    /// Whether the proxy named a user.
    pub fn is_authenticated(&self) -> bool {
        self.user().is_some()
    }

    /// Whether the request is nobody's.
    pub fn is_anonymous(&self) -> bool {
        self.user().is_none()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user {:?}", user.name()),
            Self::Anonymous(reason) => write!(f, "anonymous: {reason}"),
        }
    }
}

/// Why a request is nobody's. Its text is the name in lower case, with hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Anonymous {
    /// The proxy named no user.
    Absent,
    /// The request did not prove to come from the proxy.
    Unproven,
    /// The same, and the server gives no peer address that a proof asks for: a mistake in the wiring.
    NoPeer,
    /// The layer would have refused the request for what it holds, but its path is exempt.
    Exempt,
    /// The layer is disabled.
    Disabled,
}

impl fmt::Display for Anonymous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Absent => "absent",
            Self::Unproven => "unproven",
            Self::NoPeer => "no-peer",
            Self::Exempt => "exempt",
            Self::Disabled => "disabled",
        })
    }
}

/// A user whom the proxy named. Only the layer makes one, so that a function that takes a `RemoteUser` needs no
/// check of its own.
///
/// There is no public constructor, no `Default` and no `From`:
///
/// ```compile_fail,E0277
/// use tower_proxied::{DetachedUser, RemoteUser};
///
/// let forged: RemoteUser = DetachedUser::new("admin").into();
/// ```
///
/// Tests of an application make one with `RemoteUser::for_test` (feature `test-util`).
///
/// # In axum
///
/// With feature `axum`, a handler that takes it is for users alone: 401 for nobody, with the text and the challenge of
/// [`required`](super::ProxyRemoteUserBuilder::required). `Option<RemoteUser>` is `None` for nobody. Both are 500 without
/// the layer.
///
/// ```
/// use axum::{Router, body::Body, routing::get};
/// use http::Request;
/// use tower::ServiceExt;
/// use tower_proxied::{PeerAddr, Proof, ProxyRemoteUserLayer, RemoteUser, TrustedProxies};
///
/// async fn account(user: RemoteUser) -> String {
///     format!("account of {}", user.name())
/// }
///
/// async fn home(user: Option<RemoteUser>) -> String {
///     user.map_or("hello".to_owned(), |user| format!("hello {}", user.name()))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = Router::new()
///     .route("/account", get(account))
///     .route("/", get(home))
///     .layer(ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::parse(["10.0.0.5"])?)).build()?);
/// // axum::serve(listener, app.into_make_service_with_connect_info::<PeerAddr>()).await?;
/// let app = app.layer(PeerAddr::layer(PeerAddr::Tcp(([10, 0, 0, 5], 4711).into())));
///
/// let nobody = app.clone().oneshot(Request::get("/account").body(Body::empty())?).await?;
/// assert_eq!(nobody.status(), 401);
/// let nobody = app.clone().oneshot(Request::get("/").body(Body::empty())?).await?;
/// assert_eq!(nobody.status(), 200);
/// let alice = Request::get("/account").header("remote-user", "alice").body(Body::empty())?;
/// let page = axum::body::to_bytes(app.oneshot(alice).await?.into_body(), 1024).await?;
/// assert_eq!(page, "account of alice");
/// # Ok(())
/// # }
/// ```
///
/// Cloning clones a reference. Compare names, not users: the same person may come with other groups next time.
#[derive(Clone)]
pub struct RemoteUser(Arc<Minted>);

struct Minted {
    user: DetachedUser,
    proven_by: ProvenBy,
}

impl RemoteUser {
    /// The proofs that the request showed.
    pub fn proven_by(&self) -> ProvenBy {
        self.0.proven_by
    }

    pub(super) fn mint(user: DetachedUser, proven: Proven) -> Self {
        Self(Arc::new(Minted { user, proven_by: proven.by() }))
    }

    /// A user for your own tests, proven by nothing but the feature `test-util`.
    ///
    /// A handler finds the user in the [`Identity`] among the request's extensions: insert
    /// `Identity::User(RemoteUser::for_test(..))` there, since a bare `RemoteUser` is looked for by nobody. Test the
    /// routes without [`ProxyRemoteUserLayer`](crate::ProxyRemoteUserLayer), which removes an `Identity` that it did not
    /// leave itself. Where handlers read the `T` of [`map_user`](super::ProxyRemoteUserBuilder::map_user), insert one.
    ///
    /// To test with the layer, send headers, and put [`PeerAddr::layer`](crate::PeerAddr::layer) of the proxy outside.
    ///
    /// # Example
    ///
    /// ```
    /// use axum::{Router, body::Body, routing::get};
    /// use http::Request;
    /// use tower::ServiceExt;
    /// use tower_proxied::proxy_remote_user::RequireGroupLayer;
    /// use tower_proxied::{DetachedUser, Identity, RemoteUser};
    ///
    /// fn routes() -> Router {
    ///     let admin = get(|user: RemoteUser| async move { user.name().to_owned() });
    ///     Router::new().route("/admin", admin).layer(RequireGroupLayer::group("ops"))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// for (group, status) in [("ops", 200), ("dev", 403)] {
    ///     let user = RemoteUser::for_test(DetachedUser::new("alice").with_groups([group]));
    ///     let request = Request::get("/admin").extension(Identity::User(user)).body(Body::empty())?;
    ///     assert_eq!(routes().oneshot(request).await?.status(), status);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "test-util")]
    pub fn for_test(user: DetachedUser) -> Self {
        Self(Arc::new(Minted { user, proven_by: ProvenBy::only(super::ProofKind::Test) }))
    }
}

impl Deref for RemoteUser {
    type Target = DetachedUser;

    fn deref(&self) -> &DetachedUser {
        &self.0.user
    }
}

impl fmt::Debug for RemoteUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteUser")
            .field("user", &self.0.user)
            .field("proven_by", &self.0.proven_by)
            .finish()
    }
}

impl fmt::Display for RemoteUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.user.fmt(f)
    }
}

/// A user without a database: plain data, for an application's own login as for a front end that knows who is
/// logged in. Anybody can make one, so that it proves nothing; see [`RemoteUser`].
///
/// Texts of up to 62 bytes are held without an allocation, and so are groups of up to 124 bytes together, with one
/// more for each.
///
/// # Example
///
/// ```
/// use tower_proxied::DetachedUser;
///
/// let user = DetachedUser::new("alice").with_groups(["ops", "dev"]).with_email("alice@example.com");
/// assert_eq!(user.name(), "alice");
/// assert_eq!(user.groups().collect::<Vec<_>>(), ["ops", "dev"]);
/// assert!(user.is_authenticated());
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DetachedUser {
    name: ShortText,
    groups: TextList,
    display_name: Option<ShortText>,
    email: Option<ShortText>,
    uid: Option<ShortText>,
    realm: Option<ShortText>,
    extra: BTreeMap<String, Vec<String>>,
}

impl DetachedUser {
    /// A user of this name, in no group.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self {
            name: ShortText::new(name.as_ref()),
            groups: TextList::new(),
            display_name: None,
            email: None,
            uid: None,
            realm: None,
            extra: BTreeMap::new(),
        }
    }

    /// In these groups, and in no others.
    pub fn with_groups<I>(mut self, groups: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.groups = TextList::new();
        groups.into_iter().for_each(|group| self.groups.push(group.as_ref()));
        self
    }

    pub(super) fn with_group_list(self, groups: TextList) -> Self {
        Self { groups, ..self }
    }

    /// With a name for display.
    pub fn with_display_name(mut self, name: impl AsRef<str>) -> Self {
        self.display_name = Some(ShortText::new(name.as_ref()));
        self
    }

    /// With an address for mail.
    pub fn with_email(mut self, email: impl AsRef<str>) -> Self {
        self.email = Some(ShortText::new(email.as_ref()));
        self
    }

    /// With an id that stays when the name changes.
    pub fn with_uid(mut self, uid: impl AsRef<str>) -> Self {
        self.uid = Some(ShortText::new(uid.as_ref()));
        self
    }

    /// Of this realm (domain).
    pub fn with_realm(mut self, realm: impl AsRef<str>) -> Self {
        self.realm = Some(ShortText::new(realm.as_ref()));
        self
    }

    /// With one more value of this attribute.
    pub fn with_extra(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra.entry(key.into()).or_default().push(value.into());
        self
    }

    /// The name under which the user logs in.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The groups, in the order of the proxy.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.groups.iter()
    }

    /// Whether the user is in this group; case counts.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups().any(|own| own == group)
    }

    /// The name for display.
    pub fn display_name(&self) -> Option<&str> {
        self.display_name.as_deref()
    }

    /// The address for mail.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The id that stays when the name changes.
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// The realm (domain) that stood with the name.
    pub fn realm(&self) -> Option<&str> {
        self.realm.as_deref()
    }

    /// Further attributes: all values of each.
    pub fn extra(&self) -> &BTreeMap<String, Vec<String>> {
        &self.extra
    }

    /// Whether this is somebody: an empty name is nobody's.
    pub fn is_authenticated(&self) -> bool {
        !self.name.is_empty()
    }
}

/// The name.
impl fmt::Display for DetachedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl AsRef<str> for DetachedUser {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_data() {
        let user = DetachedUser::new("alice")
            .with_groups(["Ops"])
            .with_display_name("Alice A.")
            .with_email("a@example.com")
            .with_uid("7")
            .with_realm("CORP")
            .with_extra("scopes", "read")
            .with_extra("scopes", "write");
        assert!(user.in_group("Ops") && !user.in_group("ops"));
        assert_eq!(user.display_name(), Some("Alice A."));
        assert_eq!(user.email(), Some("a@example.com"));
        assert_eq!((user.uid(), user.realm()), (Some("7"), Some("CORP")));
        assert_eq!(user.extra()["scopes"], ["read", "write"]);
        assert_eq!(user.to_string(), "alice");
    }

    #[test]
    fn identities_read_in_a_log() {
        let named = |name: &str| {
            let minted = Minted {
                user: DetachedUser::new(name),
                proven_by: ProvenBy::only(super::super::ProofKind::Peer),
            };
            Identity::User(RemoteUser(Arc::new(minted))).to_string()
        };
        assert_eq!(named("alice"), r#"user "alice""#);
        assert_eq!(named("a\nanonymous: \"x"), r#"user "a\nanonymous: \"x""#);
        let reasons = [
            Anonymous::Absent,
            Anonymous::Unproven,
            Anonymous::NoPeer,
            Anonymous::Exempt,
            Anonymous::Disabled,
        ];
        assert_eq!(
            reasons.map(|reason| Identity::Anonymous(reason).to_string()),
            ["absent", "unproven", "no-peer", "exempt", "disabled"].map(|text| format!("anonymous: {text}"))
        );
    }

    #[test]
    fn an_empty_name_is_nobody() {
        assert!(!DetachedUser::new("").is_authenticated());
    }
}
