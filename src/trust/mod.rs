//! Whom the application believes: the socket's peer, and the set of trusted proxies.
//!
//! Trust is never implicit. A request whose peer is unknown is a stranger's; a proxy is trusted because its
//! *socket address* is in a set that the operator wrote down, never because of anything in the request.
//!
//! Cost: [`TrustedProxies::contains`] is a binary search over sorted, merged ranges, so that 10,000 networks
//! cost little more than ten. Cloning a set clones a reference.

mod networks;
mod parse;
mod peer;
#[cfg(feature = "reload")]
mod shared;

pub use networks::TrustedProxies;
pub use parse::TrustedProxiesError;
pub use peer::{PeerAddr, PeerAddrLayer, WithPeerAddr};
#[cfg(feature = "reload")]
pub use shared::SharedProxies;
