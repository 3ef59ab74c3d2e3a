use tower_proxied::{DetachedUser, RemoteUser};

fn main() {
    let _ = RemoteUser::for_test(DetachedUser::new("admin")); //~ E0599 without test-util
}
