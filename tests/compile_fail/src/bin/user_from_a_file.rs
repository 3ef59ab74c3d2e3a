fn deserialized<'de, T: serde::Deserialize<'de>>() {}

fn main() {
    deserialized::<tower_proxied::RemoteUser>(); //~ E0277
    deserialized::<tower_proxied::Identity>(); //~ E0277
}
