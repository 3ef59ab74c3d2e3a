use tower_proxied::ProxyRemoteUserLayer;

fn main() {
    let _ = ProxyRemoteUserLayer { config: None }; //~ E0451
}
