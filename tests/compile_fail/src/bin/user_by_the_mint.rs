use tower_proxied::{DetachedUser, RemoteUser};

fn main() {
    let _ = RemoteUser::mint(DetachedUser::new("admin"), todo!()); //~ E0624
}
