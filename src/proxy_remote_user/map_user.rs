use std::any::{TypeId, type_name};
use std::fmt;
use std::sync::Arc;

use http::Extensions;

use super::identity::{Identity, RemoteUser};
use crate::forced_host::PublicUrl;
use crate::forwarded_for::Proxied;
use crate::refusal::{Refusal, RefusalKind};
use crate::script_name_prefix::ScriptName;
use crate::trust::PeerAddr;

/// Why the function of [`map_user`](super::ProxyRemoteUserBuilder::map_user) gives no user.
///
/// # Example
///
/// ```
/// use tower_proxied::proxy_remote_user::Denied;
/// use tower_proxied::{Refusal, RefusalKind};
///
/// assert_eq!(Refusal::from(Denied::Forbidden).kind(), RefusalKind::UserDenied);
/// assert_eq!(Refusal::from(Denied::Unavailable).status(), 503);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Denied {
    /// This user may not come: 403, gRPC 7, [`RefusalKind::UserDenied`].
    Forbidden,
    /// It cannot be told now, since something that the function relies on fails: 503, gRPC 14,
    /// [`RefusalKind::UserUnavailable`]. Nobody comes in by it.
    Unavailable,
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Forbidden => RefusalKind::UserDenied.into(),
            Denied::Unavailable => RefusalKind::UserUnavailable.into(),
        }
    }
}

/// The application's function, with its type taken away: the layer has no parameter for it.
#[derive(Clone)]
pub(super) struct UserMap {
    map: Arc<Map>,
    forget: fn(&mut Extensions),
    user_type: (TypeId, &'static str),
}

type Map = dyn Fn(&RemoteUser, &mut Extensions) -> Result<(), Denied> + Send + Sync;

impl UserMap {
    pub(super) fn new<T, F>(map: F) -> Self
    where
        T: Clone + Send + Sync + 'static,
        F: Fn(&RemoteUser) -> Result<T, Denied> + Send + Sync + 'static,
    {
        Self {
            map: Arc::new(move |user, extensions| {
                extensions.insert(map(user)?);
                Ok(())
            }),
            forget: |extensions| {
                extensions.remove::<T>();
            },
            user_type: (TypeId::of::<T>(), type_name::<T>()),
        }
    }

    /// One that was left by somebody else is nobody's.
    pub(super) fn forget(&self, extensions: &mut Extensions) {
        (self.forget)(extensions);
    }

    pub(super) fn map(&self, user: &RemoteUser, extensions: &mut Extensions) -> Result<(), Denied> {
        (self.map)(user, extensions)
    }

    /// A type that a layer of this crate reads: it would be overwritten, or taken from that layer.
    pub(super) fn clashing_type(&self) -> Option<&'static str> {
        let own = [
            TypeId::of::<Identity>(),
            TypeId::of::<PeerAddr>(),
            TypeId::of::<Proxied>(),
            TypeId::of::<PublicUrl>(),
            TypeId::of::<ScriptName>(),
        ];
        let (id, name) = self.user_type;
        own.contains(&id).then_some(name)
    }
}

impl fmt::Debug for UserMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserMap({})", self.user_type.1)
    }
}
