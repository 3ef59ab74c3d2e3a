use tower_proxied::ProxyRemoteUserLayer;
use tower_proxied::proxy_remote_user::ProxyRemoteUserBuilder;

fn main() {
    let _ = ProxyRemoteUserLayer::new(); //~ E0061
    let _: ProxyRemoteUserLayer = Default::default(); //~ E0277
    let _: ProxyRemoteUserBuilder = Default::default(); //~ E0277
    let _ = ProxyRemoteUserBuilder::new(todo!()); //~ E0624
}
