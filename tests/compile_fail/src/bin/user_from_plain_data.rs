use tower_proxied::{DetachedUser, RemoteUser};

fn main() {
    let _: RemoteUser = DetachedUser::new("admin").into(); //~ E0277
    let _: RemoteUser = "admin".into(); //~ E0277
    let _: Result<RemoteUser, _> = "admin".parse(); //~ E0277
}
