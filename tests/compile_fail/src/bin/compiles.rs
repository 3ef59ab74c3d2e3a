//! What an application may do: the others fail for their own reason, and not for a missing crate.

use tower_proxied::proxy_remote_user::ProvenBy;
use tower_proxied::{DetachedUser, Identity, Proof, ProxyRemoteUserLayer, RemoteUser, TrustedProxies};

fn needs_no_check_of_its_own(user: &RemoteUser) -> (&str, ProvenBy) {
    (user.name(), user.proven_by())
}

fn deserialized<'de, T: serde::Deserialize<'de>>() {}

fn main() {
    let _layer = ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::loopback())).build();
    let _off = ProxyRemoteUserLayer::disabled();
    let _plain = DetachedUser::new("alice");
    let _read = |request: http::Request<()>| {
        request
            .extensions()
            .get::<Identity>()
            .and_then(Identity::user)
            .map(|user| needs_no_check_of_its_own(user).1)
    };
    deserialized::<u8>();
}
