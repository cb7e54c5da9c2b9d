# shellcheck shell=bash
# What tests/run and examples/quickstart/run need of the machine. Sourced; `logs` names the directory of log files.
# shellcheck disable=SC2154 # logs

# Commands that the tests use with Debian's packages that have them, and packages without a command of their own.
# shellcheck disable=SC2034 # used by tests/run
test_needs=(
    dockerd:docker.io docker:docker.io iptables:iptables promtool:prometheus docker-registry:docker-registry
    htpasswd:apache2-utils skopeo:skopeo openssl:openssl systemd-analyze:systemd debootstrap:debootstrap
    podman:podman git:git curl:curl cc:gcc ip:iproute2 nsenter:util-linux shellcheck:shellcheck sysctl:procps busybox-static ca-certificates libc6-dev
    python3:python3 python3-venv ssh-keygen:openssh-client sshd:openssh-server etcd:etcd-server etcdctl:etcd-client
)

# missing_packages COMMAND:PACKAGE|PACKAGE...: prints the packages of which this machine lacks the command or all.
missing_packages() {
    local need
    for need in "$@"; do
        case "$need" in
            *:*) command -v "${need%%:*}" >/dev/null || echo "${need##*:}" ;;
            *) dpkg-query -W -f '${Status}' "$need" 2>/dev/null | grep -q 'ok installed' || echo "$need" ;;
        esac
    done | sort -u
}

# install_missing COMMAND:PACKAGE|PACKAGE...
install_missing() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || { echo "missing, and no apt-get to install them: ${missing[*]}" >&2; return 1; }
    echo "== installing: ${missing[*]}"
    apt_install "${missing[@]}"
}

# apt_install PACKAGE...: quietly, without recommended packages and without starting a service: what needs one starts its
# own.
apt_install() {
    local policy=/usr/sbin/policy-rc.d ours=no code=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        ours=yes
    fi
    export DEBIAN_FRONTEND=noninteractive
    # A source that cannot be reached does not matter if the packages are there; the install says so if not.
    apt-get -qq -o DPkg::Lock::Timeout=300 update >"$logs/apt.log" 2>&1 || true
    apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --no-install-recommends "$@" \
        >>"$logs/apt.log" 2>&1 || code=$?
    [ "$ours" = no ] || rm -f "$policy"
    [ "$code" -eq 0 ] || { tail -n 20 "$logs/apt.log" >&2; echo "apt-get install failed: $*" >&2; }
    return "$code"
}

# Each systemd in a container and each watcher takes inotify instances; 128, the kernel's default, is soon used up.
raise_limits() {
    local limit=/proc/sys/fs/inotify/max_user_instances
    [ "$(cat "$limit")" -ge 1024 ] || echo 1024 >"$limit" || echo "== cannot raise $limit; going on" >&2
}

started_dockerd=

engine_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# Uses the engine that answers, or starts one.
start_dockerd() {
    engine_answers && return 0
    [ -z "${DOCKER_HOST:-}" ] || { echo "DOCKER_HOST is set to $DOCKER_HOST, but no engine answers there" >&2; return 1; }
    local file pid
    if [ -d /run/systemd/system ] && systemctl start docker 2>/dev/null && engine_answers; then
        started_dockerd=systemd
        return 0
    fi
    # Left behind by one that was killed: it would keep ours from starting.
    for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
        [ -e "$file" ] || continue
        pid=$(cat "$file")
        case "$(cat "/proc/$pid/comm" 2>/dev/null || true)" in
            dockerd | containerd) ;;
            *) rm -f "$file" ;;
        esac
    done
    echo "== starting dockerd (log: $logs/dockerd.log)"
    setsid dockerd >"$logs/dockerd.log" 2>&1 </dev/null &
    started_dockerd=$!
    for _ in $(seq 120); do
        engine_answers && return 0
        kill -0 "$started_dockerd" 2>/dev/null || break
        sleep 0.5
    done
    tail -n 20 "$logs/dockerd.log" >&2
    echo "dockerd does not answer" >&2
    return 1
}

# Stops what start_dockerd started.
stop_started() {
    case "$started_dockerd" in
        '') return 0 ;;
        systemd) systemctl stop docker.socket docker; return 0 ;;
    esac
    kill "$started_dockerd" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "$started_dockerd" 2>/dev/null || break
        sleep 0.1
    done
    started_dockerd=
}

# What a killed run of the tests has left in the engine: names begin with mt-PID-, and that process is gone.
remove_leftovers() {
    local name
    gone() { while read -r name; do [ -e "/proc/$(cut -d- -f2 <<<"$name")" ] || echo "$name"; done; }
    ip netns list | cut -d' ' -f1 | { grep -E '^mt-[0-9]+-' || true; } | gone | xargs -r -n 1 ip netns del
    docker ps -a --filter name='^/?mt-[0-9]+-' --format '{{.Names}}' | gone | xargs -r docker rm -fv >/dev/null
    docker network ls --filter name='^mt-[0-9]+-' --format '{{.Name}}' | gone | xargs -r docker network rm >/dev/null
    docker volume ls --filter name='^mt-[0-9]+-' --format '{{.Name}}' | gone | xargs -r docker volume rm >/dev/null
    docker images --format '{{.Repository}}:{{.Tag}}' | { grep -E '^mt-[0-9]+-' || true; } | gone | xargs -r docker rmi -f >/dev/null
}

# test_counts LOG: prints "PASSED FAILED" as summed up from what cargo test or nextest wrote.
test_counts() {
    sed -E 's/\x1b\[[0-9;]*m//g' "$1" | awk '
        /^test result:/ { if (match($0, /[0-9]+ passed/)) passed += substr($0, RSTART, RLENGTH)
                          if (match($0, /[0-9]+ failed/)) failed += substr($0, RSTART, RLENGTH) }
        /^ *Summary \[/ { if (match($0, /[0-9]+ passed/)) passed += substr($0, RSTART, RLENGTH)
                          if (match($0, /[0-9]+ failed/)) failed += substr($0, RSTART, RLENGTH)
                          if (match($0, /[0-9]+ timed out/)) failed += substr($0, RSTART, RLENGTH) }
        END { print passed + 0, failed + 0 }'
}

# Builds the binary that is shipped, statically linked, and checks what is promised of it.
release_binary() {
    local target binary bytes limit
    target=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target "$target" || return 1
    # mastic-start goes into every image.
    for limit in mastic:20000000 mastic-start:4000000; do
        binary=target/$target/release/${limit%%:*}
        limit=${limit##*:}
        bytes=$(stat -c %s "$binary")
        echo "$binary: $bytes bytes"
        [ "$bytes" -lt "$limit" ] || { echo "$binary has $bytes bytes, $limit is the limit"; return 1; }
        if ldd "$binary" 2>&1 | grep -q '=>'; then echo "$binary is not static: $(ldd "$binary")"; return 1; fi
    done
    "target/$target/release/mastic" --version
}
