#!/usr/bin/env bash
# Everything that must hold on a clean clone. Needs the Rust toolchain; what else is missing it installs (Debian).
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0

step() { printf '\n== %s\n' "$*"; "$@"; }

# g++ builds what the fuzz targets stand on.
if ! command -v cc >/dev/null 2>&1 || ! command -v c++ >/dev/null 2>&1; then
    apt-get update -qq && apt-get install -y -qq g++ libc6-dev
fi
# The servers that the application stands behind in earnest. What cannot be had, the tests name, and pass over.
packages=()
for server in nginx haproxy apache2 gunicorn chromium; do
    command -v "$server" >/dev/null 2>&1 || packages+=("$server")
done
/usr/bin/python3 -c 'import django' 2>/dev/null || packages+=(python3-django)
if [ ${#packages[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        # None is to run by itself.
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    { timeout 120 apt-get update -qq && timeout 400 apt-get install -y -qq "${packages[@]}"; } >/dev/null ||
        echo "not all of ${packages[*]} could be installed"
fi
for component in rustfmt clippy; do
    cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
done

step cargo fmt --check
step cargo clippy --locked --all-targets -- -D warnings
# As users build it: the crate's own dev-dependency would unify `full` into every other check.
for features in "" force-https-body sticky-route front client client-http2 admin axum tonic tonic-tls reload serde idn tower tracing test-util \
    front,client,axum sticky-route,client,tracing sticky-route,tower full; do
    step cargo clippy --locked --lib --no-default-features --features "$features" -- -D warnings
done
step env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features
step cargo test --locked --all-targets
step timeout 600 cargo test --locked --test real_peers -- --ignored --nocapture
step cargo test --locked --doc
step cargo test --locked --manifest-path tests/allocations/Cargo.toml
step cargo clippy --locked --manifest-path tests/allocations/Cargo.toml --all-targets -- -D warnings
step cargo clippy --locked --manifest-path tests/models/Cargo.toml -- -D warnings
step cargo run --locked --manifest-path tests/models/Cargo.toml
step cargo clippy --locked --manifest-path fuzz/Cargo.toml --all-targets -- -D warnings
for example in demo session_login own_login jobs templates rate_limit traced hyper_server grpc; do
    step timeout 120 cargo run --locked --quiet --example "$example" -- --once
done
