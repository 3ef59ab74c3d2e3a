use tower_proxied::proxy_remote_user::Proven; //~ E0432
use tower_proxied::proxy_remote_user::proof::Proven as OfModule; //~ E0603

fn main() {}
