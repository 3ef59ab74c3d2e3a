#!/usr/bin/env bash
# What takes longer than tests/run.sh may: the laws with a hundred thousand inputs each, and a soak. About twenty minutes
# on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0

exec cargo test --locked --release --lib --test forwarded_for_laws --test proxy_remote_user_laws --test set_remote_user_laws \
    --test forced_host_laws --test script_name_prefix_laws --test sticky_admin_laws --test force_https_laws --test force_https_conformance \
    --test sticky_route_soak -- --ignored
