use tower_proxied::Proof;
use tower_proxied::proxy_remote_user::ProvenBy;

fn main() {
    let _: Proof = Default::default(); //~ E0277
    let _: ProvenBy = Default::default(); //~ E0277
    let _ = ProvenBy::only(tower_proxied::proxy_remote_user::ProofKind::Peer); //~ E0624
}
