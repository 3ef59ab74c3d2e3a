use tower_proxied::{Proof, TrustedProxies};

fn main() {
    let (parts, ()) = http::Request::new(()).into_parts();
    let _ = Proof::peer(TrustedProxies::loopback()).check(None, &parts); //~ E0624
}
