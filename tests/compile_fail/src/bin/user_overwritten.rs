use tower_proxied::{DetachedUser, RemoteUser};

fn rename(user: &mut RemoteUser) {
    **user = DetachedUser::new("admin"); //~ E0594
}

fn main() {
    let _ = rename;
}
