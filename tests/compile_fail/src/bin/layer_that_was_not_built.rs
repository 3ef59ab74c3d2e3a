use tower_proxied::{Proof, ProxyRemoteUserLayer, TrustedProxies};

fn main() {
    let _: ProxyRemoteUserLayer = ProxyRemoteUserLayer::new(Proof::peer(TrustedProxies::loopback())); //~ E0308
}
