# shellcheck shell=bash
# What the examples that are run have in common. Sourced, after `name` (the example's), `tree` (the repository), `here` (the
# example), `dir` (where it keeps its things), `needs` (as tests/lib.sh takes them), `yes` and `ci` are set.
# shellcheck disable=SC2154 # those
# shellcheck source=tests/lib.sh
source "$tree/tests/lib.sh"

if [ -t 1 ] && [ "$ci" = no ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' plain=$'\e[0m'; else bold='' dim='' green='' plain=''; fi

step() { printf '\n%s== %s%s\n' "$bold" "$1" "$plain"; [ $# -lt 2 ] || printf '%s\n' "${@:2}"; }
ok() { printf '%sok:%s %s\n' "$green" "$plain" "$*"; }
die() { printf '\n%s: %s\n' "$name" "$*" >&2; exit 1; }

# show COMMAND...: says what is run, runs it, and lets its exit code through.
show() {
    local code=0
    printf '%s$ %s%s\n' "$dim" "$(words "$@")" "$plain"
    "$@" 2>&1 | sed 's/^/    /' || code=${PIPESTATUS[0]}
    return "$code"
}
# The command as somebody would type it.
words() { local word; for word in "$@"; do case "$word" in *[!A-Za-z0-9_./:=,@%+-]* | '') printf "'%s' " "$word" ;; *) printf '%s ' "$word" ;; esac; done; }

milliseconds() { date +%s%3N; }
# wait_until SECONDS WHAT COMMAND...: asks until it succeeds and says how long that took.
wait_until() {
    local seconds=$1 what=$2 begin
    begin=$(milliseconds)
    shift 2
    while ! "$@" >/dev/null 2>&1; do
        if [ $(($(milliseconds) - begin)) -gt $((seconds * 1000)) ]; then
            site status >&2 || true
            die "waited $seconds s for: $what"
        fi
        sleep 0.05
    done
    ok "$what, after $(($(milliseconds) - begin)) ms"
}

mastic() { "$MASTIC_BIN" "$@"; }
site() { mastic -f site.yaml "$@"; }

# Compiling is done with the user's own rights, everything else with root's.
as_root() {
    command -v sudo >/dev/null || die "needs root: run it as root, or install sudo"
    sudo env PATH="$PATH" HOME="$HOME" "${name^^}_DIR=$dir" MASTIC_BIN="${MASTIC_BIN:-}" "$@"
}

# The packages, after a question unless it was answered before.
install_needs() {
    local missing answer
    missing=$(missing_packages "${needs[@]}" | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    if [ "$yes" = no ]; then
        [ -t 0 ] || die "packages are missing: $missing- install them, or call this with --yes and it does so"
        read -r -p "Packages are missing: $missing- install them with apt-get now? [y/N] " answer
        case "$answer" in y | Y | yes) ;; *) die "nothing was changed" ;; esac
    fi
    if [ "$(id -u)" -eq 0 ]; then install_missing "${needs[@]}"; else as_root "$here/run" --yes --install-only; fi
}

build() {
    if [ -n "${MASTIC_BIN:-}" ]; then
        [ -x "$MASTIC_BIN" ] || die "MASTIC_BIN names $MASTIC_BIN, which is no program"
        return 0
    fi
    command -v cargo >/dev/null || PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null || die "cargo is not in PATH; install Rust first: https://rustup.rs"
    step "Building Mastic" "The first time this takes about five minutes on two cores."
    local begin=$SECONDS
    (cd "$tree" && show cargo build --release --locked --quiet)
    MASTIC_BIN=${CARGO_TARGET_DIR:-$tree/target}/release/mastic
    ok "built in $((SECONDS - begin)) s: $MASTIC_BIN, $(($(stat -c %s "$MASTIC_BIN") / 1000000)) MB"
}

# Remembers an engine that had to be started, so that --clean stops it.
start_engine() {
    start_dockerd
    [ -z "$started_dockerd" ] || echo "$started_dockerd" >"$dir/dockerd.pid"
    ok "Docker $(docker version --format '{{.Server.Version}}')"
}
stop_engine() {
    [ -e "$dir/dockerd.pid" ] || return 0
    started_dockerd=$(cat "$dir/dockerd.pid")
    # After a reboot the number may be somebody else's.
    [ "$started_dockerd" = systemd ] || [ "$(cat "/proc/$started_dockerd/comm" 2>/dev/null)" = dockerd ] || started_dockerd=
    stop_started
    ok "the Docker engine that this script had started is stopped; its packages stay installed"
}
