//! Tower middleware for both sides of a reverse proxy.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::disallowed_methods,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unwrap_used
    )
)]

pub mod body;
pub mod errors_to_502;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "force-https-body")]
pub mod force_https_body;
pub mod forced_host;
pub mod forwarded_for;
#[cfg(feature = "front")]
pub mod front;
pub mod future;
pub mod proxy_remote_user;
mod refusal;
pub mod script_name_prefix;
mod shell;
#[cfg(feature = "sticky-route")]
pub mod sticky_route;
pub mod trust;
pub mod wire;

#[cfg(feature = "force-https-body")]
#[doc(inline)]
pub use crate::force_https_body::{ForceHttpsBody, ForceHttpsBodyLayer};
#[doc(inline)]
pub use crate::forced_host::PublicUrl;
#[doc(inline)]
pub use crate::forwarded_for::{ForwardedFor, ForwardedForLayer, Proxied};
pub use crate::refusal::{Refusal, RefusalKind};
#[doc(inline)]
pub use crate::script_name_prefix::ScriptName;
#[doc(inline)]
pub use crate::trust::{PeerAddr, TrustedProxies};
pub use crate::wire::host::Scheme;
pub use crate::wire::path::{PathPrefix, PathPrefixError};
