use tower_proxied::{DetachedUser, RemoteUser};

fn main() {
    let _ = RemoteUser::new("admin"); //~ E0599
    let _ = RemoteUser::with_groups(DetachedUser::new("admin"), ["root"]); //~ E0599
}
