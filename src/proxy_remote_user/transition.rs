use super::identity::Identity;

/// What an application must do with its session, now that the proxy named a user or nobody. It serves any session
/// crate: nothing is read or written here.
///
/// | session | the proxy names | [`Mode::Strict`] | [`Mode::Persistent`] |
/// |---|---|---|---|
/// | none | nobody | `StayAnonymous` | `StayAnonymous` |
/// | none | a user | `Login` | `Login` |
/// | of the same user | that user | `Keep` | `Keep` |
/// | of another user | a user | `Switch` | `Switch` |
/// | opened for the proxy's user | nobody | `Logout` | `Keep` |
/// | opened by the application's own login | nobody | `Keep` | `Keep` |
///
/// These are the rules of Django's `RemoteUserMiddleware` and `PersistentRemoteUserMiddleware`.
///
/// # Example
///
/// ```
/// use tower_proxied::proxy_remote_user::{Mode, SessionUser, Transition, transition};
/// use tower_proxied::{Anonymous, Identity};
///
/// let nobody = Identity::Anonymous(Anonymous::Absent);
/// let next = transition(Some(SessionUser::OfProxy("alice")), &nobody, Mode::Strict);
/// assert_eq!(next, Transition::Logout);
/// assert!(next.needs_new_session_id());
/// ```
pub fn transition(session: Option<SessionUser<'_>>, now: &Identity, mode: Mode) -> Transition {
    match (session, now.user()) {
        (None, None) => Transition::StayAnonymous,
        (None, Some(_)) => Transition::Login,
        (Some(session), Some(user)) if session.name() == user.name() => Transition::Keep,
        (Some(_), Some(_)) => Transition::Switch,
        (Some(SessionUser::OfProxy(_)), None) if mode == Mode::Strict => Transition::Logout,
        (Some(_), None) => Transition::Keep,
    }
}

/// Whose session it is, and who opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionUser<'a> {
    /// Opened because the proxy named this user.
    OfProxy(&'a str),
    /// Opened by the application's own login.
    OfApplication(&'a str),
}

impl<'a> SessionUser<'a> {
    /// The user's name.
    pub fn name(self) -> &'a str {
        match self {
            Self::OfProxy(name) | Self::OfApplication(name) => name,
        }
    }
}

/// What becomes of the proxy's session when the proxy names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It ends.
    Strict,
    /// It goes on: for a proxy that names the user at a login page alone.
    Persistent,
}

/// What to do with the session, see [`transition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Transition {
    /// Open a session for the user.
    Login,
    /// Go on with the session.
    Keep,
    /// End the session, with all that is in it, and open one for the user.
    Switch,
    /// End the session.
    Logout,
    /// There is no session, and none is needed.
    StayAnonymous,
}

impl Transition {
    /// Whether the session's id, and a CSRF secret bound to it, must be new: else whoever knew the old one shares
    /// the session (fixation).
    pub fn needs_new_session_id(self) -> bool {
        matches!(self, Self::Login | Self::Switch | Self::Logout)
    }
}
