fn main() {
    let _ = tower_proxied::RemoteUser { 0: todo!() }; //~ E0451
}
