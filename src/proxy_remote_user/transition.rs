use super::identity::{DetachedUser, Identity};

/// What an application must do with its session, now that the proxy named a user or nobody. It serves any session
/// crate: nothing is read or written here.
///
/// | session | the proxy names | [`Mode::Strict`] | [`Mode::Persistent`] |
/// |---|---|---|---|
/// | none | nobody | `StayAnonymous` | `StayAnonymous` |
/// | none | a user | `Login` | `Login` |
/// | of the same user, whoever opened it | that user | `Keep` | `Keep` |
/// | of another user, whoever opened it | a user | `Switch` | `Switch` |
/// | opened for the proxy's user | nobody | `Logout` | `Keep` |
/// | opened by the application's own login | nobody | `Keep` | `Keep` |
///
/// Nobody is nobody for every reason: a request that did not come from the proxy ends the proxy's session as one
/// without a user does.
///
/// # Who is the same user
///
/// Whoever has the same name, the same realm and the same uid, byte for byte; what one of both lacks is a
/// difference. `alice` of `A` is not `alice` of `B`, `Alice` is not `alice`, and a name that was given to somebody
/// else, with another uid, does not inherit a session. Groups, mail and the like may change.
///
/// So **store what the proxy said**, all three of it, and not what you make of it: a session that forgets the realm
/// is switched at each request. Tidied names are for your own tables.
///
/// # How to use it
///
/// In a middleware inside of [`ProxyRemoteUser`](crate::ProxyRemoteUser) and of the session's own layer, before
/// anything reads the session:
///
/// 1. Make the session's user a [`SessionUser`], by who opened it, and ask for the transition. If your application
///    does not know the user, or has shut the account: [`Transition::not_admitted`].
/// 2. `Login`: a new id, then store the user. What the visitor left in the session may stay, under the new id alone.
/// 3. `Switch`: remove *all* data, a new id, then store the user.
/// 4. `Logout`: remove all data, and a new id if anything is stored again.
/// 5. Where [`needs_new_session_id`](Transition::needs_new_session_id) says so, the CSRF token is a new one, and a
///    form that came with the old one is not accepted: the old session may be one that an attacker gave the browser.
/// 6. Take groups from the request's [`Identity`] while there is one: those in a session are as old as its login.
///
/// Two requests of one browser may do this at once. Each opens a session for the same user, and the browser keeps
/// the last. A slow request may also write back a session that another one ended; in [`Mode::Strict`] that does no
/// harm, since a session of the proxy's user is worth nothing without the proxy.
///
/// With tower-sessions 0.15, a new id for an emptied session is `clear` and then `cycle_id`: after `flush` alone,
/// what is inserted next is stored under the old id. `examples/session_login.rs` is an application with all of this.
///
/// # The same as Django, and what is not
///
/// The rules are those of Django's `RemoteUserMiddleware` and `PersistentRemoteUserMiddleware`, but for these:
///
/// - Django compares names alone, as its backend tidied them.
/// - Django's persistent middleware ends the proxy's session at an *empty* header. Here an empty value is nobody,
///   as is none.
/// - Django goes on with the session of an application's own login if the proxy names somebody who is not
///   admitted; see [`Transition::not_admitted`].
/// - At the request that logs in, Django accepts a form with the CSRF token of before.
///
/// # Example
///
/// The steps above, for a session that the proxy's user alone opens (`RemoteUser::for_test` needs feature `test-util`):
///
/// ```
/// use tower_proxied::proxy_remote_user::{Mode, SessionUser, Transition, transition};
/// use tower_proxied::{DetachedUser, Identity, RemoteUser};
///
/// #[derive(Default)]
/// struct Session {
///     id: u32,
///     user: Option<DetachedUser>,
///     basket: Vec<&'static str>,
/// }
///
/// fn follow(session: &mut Session, now: &Identity) -> Transition {
///     let next = transition(session.user.as_ref().map(SessionUser::OfProxy), now, Mode::Strict);
///     if matches!(next, Transition::Switch | Transition::Logout) {
///         *session = Session { id: session.id, ..Session::default() };
///     }
///     if next.needs_new_session_id() {
///         session.id += 1;
///     }
///     if matches!(next, Transition::Login | Transition::Switch) {
///         session.user = now.user().map(|user| DetachedUser::clone(user));
///     }
///     next
/// }
///
/// let named = |name| Identity::User(RemoteUser::for_test(DetachedUser::new(name)));
/// let mut session = Session { basket: vec!["book"], ..Session::default() };
/// assert_eq!(follow(&mut session, &named("alice")), Transition::Login);
/// assert_eq!(follow(&mut session, &named("alice")), Transition::Keep);
/// assert_eq!((session.id, &*session.basket), (1, &["book"][..]));
/// assert_eq!(follow(&mut session, &named("bob")), Transition::Switch);
/// assert_eq!((session.id, session.basket.len()), (2, 0));
/// ```
///
/// The application's own login stays where the proxy names nobody:
///
/// ```
/// use tower_proxied::proxy_remote_user::{Mode, SessionUser, Transition, transition};
/// use tower_proxied::{Anonymous, DetachedUser, Identity};
///
/// let alice = DetachedUser::new("alice").with_realm("CORP");
/// let nobody = Identity::Anonymous(Anonymous::Absent);
///
/// let next = transition(Some(SessionUser::OfProxy(&alice)), &nobody, Mode::Strict);
/// assert_eq!(next, Transition::Logout);
/// assert!(next.needs_new_session_id());
///
/// let own = transition(Some(SessionUser::OfApplication(&alice)), &nobody, Mode::Strict);
/// assert_eq!(own, Transition::Keep);
/// ```
pub fn transition(session: Option<SessionUser<'_>>, now: &Identity, mode: Mode) -> Transition {
    match (session, now.user()) {
        (None, None) => Transition::StayAnonymous,
        (None, Some(_)) => Transition::Login,
        (Some(session), Some(user)) if session.is(user) => Transition::Keep,
        (Some(_), Some(_)) => Transition::Switch,
        (Some(SessionUser::OfProxy(_)), None) if mode == Mode::Strict => Transition::Logout,
        (Some(_), None) => Transition::Keep,
    }
}

/// Whose session it is, and who opened it: both must be stored in the session.
#[derive(Clone, Copy, Debug)]
pub enum SessionUser<'a> {
    /// Opened because the proxy named this user.
    OfProxy(&'a DetachedUser),
    /// Opened by the application's own login.
    OfApplication(&'a DetachedUser),
}

impl<'a> SessionUser<'a> {
    /// The user.
    pub fn user(self) -> &'a DetachedUser {
        match self {
            Self::OfProxy(user) | Self::OfApplication(user) => user,
        }
    }

    /// Whether this is the session of that user: of the same name, realm and uid.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_proxied::DetachedUser;
    /// use tower_proxied::proxy_remote_user::SessionUser;
    ///
    /// let alice = DetachedUser::new("alice").with_realm("A").with_groups(["ops"]);
    /// let session = SessionUser::OfProxy(&alice);
    /// assert!(session.is(&DetachedUser::new("alice").with_realm("A")));
    /// assert!(!session.is(&DetachedUser::new("alice").with_realm("B")));
    /// assert!(!session.is(&DetachedUser::new("alice")));
    /// ```
    pub fn is(self, user: &DetachedUser) -> bool {
        let own = self.user();
        own.name() == user.name() && own.realm() == user.realm() && own.uid() == user.uid()
    }
}

/// What becomes of the proxy's session when the proxy names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It ends.
    Strict,
    /// It goes on: for a proxy that names the user at a login page alone. The cookie is then all that a request
    /// needs, from the proxy or past it.
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
    /// End the session, with all that is in it.
    Logout,
    /// There is no user's session, and none is needed.
    StayAnonymous,
}

impl Transition {
    /// Whether the session's id, and a CSRF secret bound to it, must be new: else whoever knew the old one shares
    /// the session (fixation).
    pub fn needs_new_session_id(self) -> bool {
        matches!(self, Self::Login | Self::Switch | Self::Logout)
    }

    /// The same, where the proxy names a user whom the application does not let in: one it does not know, or whose
    /// account is shut. Nobody is logged in then, and no session goes on, one of the application's own login
    /// neither: the proxy says that somebody else sits there.
    ///
    /// Ask for it at each request with such a user, since accounts are shut while sessions last; and never where the
    /// proxy names nobody.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_proxied::proxy_remote_user::Transition;
    ///
    /// assert_eq!(Transition::Login.not_admitted(), Transition::StayAnonymous);
    /// assert_eq!(Transition::Switch.not_admitted(), Transition::Logout);
    /// assert_eq!(Transition::Keep.not_admitted(), Transition::Logout);
    /// ```
    pub fn not_admitted(self) -> Self {
        match self {
            Self::Login | Self::StayAnonymous => Self::StayAnonymous,
            Self::Keep | Self::Switch | Self::Logout => Self::Logout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy_remote_user::{Anonymous, RemoteUser};

    fn proxy_names(user: &DetachedUser) -> Identity {
        Identity::User(RemoteUser::for_test(user.clone()))
    }

    #[test]
    fn only_name_realm_and_uid_make_a_person() {
        let alice = || DetachedUser::new("alice");
        let people = [
            alice(),
            DetachedUser::new("Alice"),
            DetachedUser::new("alice "),
            DetachedUser::new("al\u{131}ce"),
            DetachedUser::new("alice@A"),
            DetachedUser::new("A"),
            alice().with_realm("A"),
            alice().with_realm("a"),
            alice().with_realm("B"),
            alice().with_realm(""),
            alice().with_uid("A"),
            alice().with_uid(""),
            alice().with_realm("A").with_uid("7"),
            alice().with_realm("A7"),
            DetachedUser::new("aliceA").with_uid("7"),
        ];
        for (at, session) in people.iter().enumerate() {
            for (now_at, now) in people.iter().enumerate() {
                let later = now.clone().with_groups(["ops"]).with_email("a@example").with_display_name("A.");
                let expected = if at == now_at { Transition::Keep } else { Transition::Switch };
                for of in [SessionUser::OfProxy(session), SessionUser::OfApplication(session)] {
                    for mode in [Mode::Strict, Mode::Persistent] {
                        let seen = transition(Some(of), &proxy_names(&later), mode);
                        assert_eq!(seen, expected, "{of:?} {now:?} {mode:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn nobody_is_nobody_for_every_reason() {
        let alice = DetachedUser::new("alice");
        let reasons = [
            Anonymous::Absent,
            Anonymous::Unproven,
            Anonymous::NoPeer,
            Anonymous::Exempt,
            Anonymous::Disabled,
        ];
        for nobody in reasons.map(Identity::Anonymous) {
            for (session, mode, expected) in [
                (None, Mode::Strict, Transition::StayAnonymous),
                (None, Mode::Persistent, Transition::StayAnonymous),
                (Some(SessionUser::OfProxy(&alice)), Mode::Strict, Transition::Logout),
                (Some(SessionUser::OfProxy(&alice)), Mode::Persistent, Transition::Keep),
                (Some(SessionUser::OfApplication(&alice)), Mode::Strict, Transition::Keep),
                (Some(SessionUser::OfApplication(&alice)), Mode::Persistent, Transition::Keep),
            ] {
                assert_eq!(transition(session, &nobody, mode), expected, "{session:?} {nobody} {mode:?}");
            }
        }
    }

    #[test]
    fn nobody_is_logged_in_who_is_not_admitted() {
        for (next, expected) in [
            (Transition::StayAnonymous, Transition::StayAnonymous),
            (Transition::Login, Transition::StayAnonymous),
            (Transition::Keep, Transition::Logout),
            (Transition::Switch, Transition::Logout),
            (Transition::Logout, Transition::Logout),
        ] {
            assert_eq!(next.not_admitted(), expected);
        }
    }
}
