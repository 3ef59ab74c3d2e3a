#!/usr/bin/env bash
# The `front_end` example under load beside nginx, HAProxy and Apache httpd: CPU time per request, and requests per second.
#
#     benches/front_end/run.sh
#
# All have as many workers, keep their connections alive on both sides, keep clients with their member by a cookie, and
# write no access log. Rounds are interleaved, so that whatever else the machine does meets all alike. It installs what is
# missing where it may (Debian), and needs nginx in any case: the members are one.
#
# ROUNDS (5), SECONDS_EACH (4), CONNECTIONS (64), WORKERS (2), and FRONTS ("ours nginx haproxy apache"); BINARY for another
# build of the example.
set -euo pipefail
cd "$(dirname "$0")"
rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-4} connections=${CONNECTIONS:-64} workers=${WORKERS:-2}
read -ra wanted <<<"${FRONTS:-ours nginx haproxy apache}"
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0

dir=$(mktemp -d)
chmod 755 "$dir"
started=()
finish() {
    # Exactly what was started here; masters take their workers with them.
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { printf '%s\n' "$*" >&2; }

missing() {
    local tool
    for tool in wrk curl nginx haproxy apache2; do command -v "$tool" >/dev/null 2>&1 || echo "$tool"; done
}

install_missing() {
    local tools
    mapfile -t tools < <(missing)
    if [ ${#tools[@]} -eq 0 ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then return; fi
    # Packages start a service of their own, unless this says no.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy
    else
        policy=
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${tools[@]}" >/dev/null 2>&1 || true
    if [ -n "$policy" ]; then rm -f $policy; fi
}

declare -A taken=()
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        if [ -z "${taken[$port]:-}" ] && ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    done
    taken[$port]=1
    free=$port
}

wait_for_port() {
    local _
    for _ in $(seq 100); do
        if (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        sleep 0.1
    done
    say "$2 does not listen on port $1"
    cat "$dir/$2.log" >&2
    return 1
}

# The template of this name, with the values of this run.
configure() {
    local user=nobody group
    [ "$(id -u)" != 0 ] && user=$(id -un)
    group=$(id -gn "$user")
    sed -e "s|@DIR@|$dir|g; s|@PORT@|${port[$1]:-0}|g; s|@WORKERS@|$workers|g; s|@CONNECTIONS@|$connections|g" \
        -e "s|@USER@|$user|g; s|@GROUP@|$group|g" \
        -e "s|@MEMBER_1@|${members[0]}|g; s|@MEMBER_2@|${members[1]}|g; s|@MEMBER_3@|${members[2]}|g" \
        "$1.conf" >"$dir/$1.conf"
}

declare -A port=() pid=()
start() {
    local name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 &
    pid[$name]=$!
    started+=("$!")
}

start_front() {
    free_port
    port[$1]=$free
    case $1 in
        ours)
            start ours "$binary" --listen "127.0.0.1:${port[ours]}" --threads "$workers" \
                --member "http-1=http://127.0.0.1:${members[0]}" --member "http-2=http://127.0.0.1:${members[1]}" \
                --member "http-3=http://127.0.0.1:${members[2]}"
            ;;
        nginx) configure nginx && start nginx nginx -p "$dir" -c "$dir/nginx.conf" ;;
        haproxy) configure haproxy && start haproxy haproxy -db -f "$dir/haproxy.conf" ;;
        apache) configure apache && start apache apache2 -d "$dir" -f "$dir/apache.conf" -DFOREGROUND ;;
        *) say "$1 is none of ours, nginx, haproxy, apache" && exit 2 ;;
    esac
    wait_for_port "${port[$1]}" "$1"
}

# One cookie per line, as this front gave it; nginx of Debian gives none, and hashes what comes.
collect_cookies() {
    local name=$1 number
    for number in $(seq 12); do
        local pin
        pin=$(curl -sS -D - -o /dev/null "http://127.0.0.1:${port[$name]}/" |
            sed -n 's/^set-cookie: \(ROUTEID=[^;[:space:]]*\).*/\1/Ip')
        if [ "$name" = nginx ]; then pin=ROUTEID=client-$number; fi
        if [ -z "$pin" ]; then say "$name sets no cookie" && return 1; fi
        echo "$pin"
    done >"$dir/$name.cookies"
}

# Each cookie leads to one member, and not all to the same.
check_stickiness() {
    local pin first next all=()
    while read -r pin; do
        first=$(curl -sS -H "Cookie: $pin" "http://127.0.0.1:${port[$1]}/")
        for _ in 1 2 3; do
            next=$(curl -sS -H "Cookie: $pin" "http://127.0.0.1:${port[$1]}/")
            if [ "$next" != "$first" ]; then say "$1 moves $pin from $first to $next" && return 1; fi
        done
        all+=("$first")
    done <"$dir/$1.cookies"
    if [ "$(printf '%s\n' "${all[@]}" | sort -u | grep -c '^http-')" -lt 2 ]; then
        say "$1 gives all clients to one member" && return 1
    fi
}

# Clock ticks of a process and its children, user and system.
ticks() {
    local each
    for each in "$1" $(cat "/proc/$1/task/$1/children"); do
        # The name may hold blanks and brackets: what follows the last bracket counts.
        sed 's/.*) //' "/proc/$each/stat"
    done | awk '{ sum += $12 + $13 } END { print sum }'
}

# Appends "CPU-microseconds-per-request requests-per-second" to the front's results.
load() {
    local name=$1 time=$2 before after requests rate
    before=$(ticks "${pid[$name]}")
    COOKIES="$dir/$name.cookies" wrk -t2 -c"$connections" -d"${time}s" -s wrk.lua \
        "http://127.0.0.1:${port[$name]}/shop/cart?item=7" >"$dir/wrk"
    after=$(ticks "${pid[$name]}")
    if grep -qE 'Non-2xx|Socket errors' "$dir/wrk"; then
        say "$name did not answer everything:" && cat "$dir/wrk" >&2 && return 1
    fi
    requests=$(awk '/requests in/ { print $1 }' "$dir/wrk")
    rate=$(awk '/^Requests\/sec/ { print $2 }' "$dir/wrk")
    awk -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" -v requests="$requests" -v rate="$rate" \
        'BEGIN { printf "%.2f %.0f\n", ticks * 1e6 / hz / requests, rate }'
}

install_missing
absent=" $(missing | tr '\n' ' ')"
for tool in wrk curl nginx; do
    if [[ $absent == *" $tool "* ]]; then say "$tool is missing, and nothing can be measured without it" && exit 1; fi
done
fronts=()
for name in "${wanted[@]}"; do
    program=${name/apache/apache2}
    if [[ $absent == *" $program "* ]]; then say "SKIPPED: $name is not installed"; else fronts+=("$name"); fi
done

binary=${BINARY:-}
if [ -z "$binary" ]; then
    (cd ../.. && cargo build --locked --release --example front_end)
    binary=$(cd ../.. && cargo metadata --no-deps --format-version 1 |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/examples/front_end
fi

members=()
for _ in 1 2 3; do free_port && members+=("$free"); done
configure members
start members nginx -p "$dir" -c "$dir/members.conf"
for member in "${members[@]}"; do wait_for_port "$member" members; done

for name in "${fronts[@]}"; do
    start_front "$name"
    collect_cookies "$name"
    check_stickiness "$name"
    load "$name" 1 >/dev/null
done
for round in $(seq "$rounds"); do
    for name in "${fronts[@]}"; do
        load "$name" "$seconds" | tee -a "$dir/$name.results" | sed "s/^/round $round $name /" >&2
    done
done

middle() { sort -n | awk '{ line[NR] = $1 } END { print line[int((NR + 1) / 2)] }'; }
printf '\n%-8s %14s %14s %14s %14s\n' front 'us CPU median' 'us CPU best' 'req/s median' 'req/s best'
for name in "${fronts[@]}"; do
    cpu=$(cut -d' ' -f1 "$dir/$name.results") rate=$(cut -d' ' -f2 "$dir/$name.results")
    printf '%-8s %14s %14s %14s %14s\n' "$name" "$(middle <<<"$cpu")" "$(sort -n <<<"$cpu" | head -n1)" \
        "$(middle <<<"$rate")" "$(sort -n <<<"$rate" | tail -n1)"
done | tee "$dir/table"
awk '$1 == "ours" { median = $2; best = $3 }
    $1 != "ours" { name[++count] = $1; medians[count] = $2; bests[count] = $3 }
    END { if (median) for (i = 1; i <= count; i++)
        printf "%s / ours: %.2f of the CPU per request (best rounds: %.2f)\n", name[i], medians[i] / median, bests[i] / best }' \
    "$dir/table"
