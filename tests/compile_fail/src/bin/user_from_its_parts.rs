fn main() {
    let _ = tower_proxied::RemoteUser(todo!()); //~ E0423
}
