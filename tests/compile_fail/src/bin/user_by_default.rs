use tower_proxied::RemoteUser;

fn main() {
    let _: RemoteUser = Default::default(); //~ E0277
}
