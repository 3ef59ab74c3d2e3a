fn main() {
    let _ = tower_proxied::proxy_remote_user::ProvenBy(1); //~ E0423
}
