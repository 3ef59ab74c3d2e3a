use tower_proxied::RemoteUser;

fn taken_apart(user: RemoteUser) {
    let _ = user.0; //~ E0616
    let _ = user.user; //~ E0609
}

fn main() {
    let _ = taken_apart;
}
