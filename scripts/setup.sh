#!/usr/bin/env bash
# Installs the Debian packages that are missing, and nothing else.
#
#   scripts/setup.sh run        what building and `make run` need (the default)
#   scripts/setup.sh cluster    that, and what `make run-cluster` needs
#   scripts/setup.sh test       that, and what the tests talk to
#   scripts/setup.sh browser    Chromium, for the test that opens the page in a browser
#   scripts/setup.sh instructions  valgrind, for `make instructions`
#   scripts/setup.sh peers      nginx with nchan, for the comparison in `make bench`
#
# Several may be named at once. Where everything is there already, it needs no root and no network.
set -euo pipefail

missing=()
# Debian keeps servers there, where a user's own PATH need not lead.
PATH=$PATH:/usr/sbin:/sbin

have_package() { # NAME
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}
need_package() { # NAME
    have_package "$1" || missing+=("$1")
}
need_command() { # COMMAND PACKAGE: a tool from anywhere is as good as Debian's
    command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

need() { # SCOPE
    case $1 in
    run)
        need_package zlib1g-dev # provides libz-dev
        need_package libssl-dev
        need_package libsqlite3-dev
        need_command git git
        need_command python3 python3
        ;;
    cluster)
        need run
        need_command redis-server redis-server
        need_command nginx nginx
        ;;
    test)
        need cluster
        python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
        need_command php php-cli
        need_command node nodejs
        need_command promtool prometheus
        need_command openssl openssl
        need_command curl curl
        # The proxies that the tests put in front.
        need_package libnginx-mod-stream
        need_command haproxy haproxy
        need_command caddy caddy
        need_command apache2 apache2
        need_package faketime
        need_command ip iproute2
        # Servers and frameworks of the apps.
        compgen -c php-fpm >/dev/null || missing+=(php-fpm) # Debian names it after its version
        need_command lighttpd lighttpd
        need_command puma puma
        need_package ruby-rails
        need_package node-express
        # More engines of a cluster, and their faults.
        need_command redis-sentinel redis-sentinel
        need_command redis-cli redis-tools
        # WebSocket clients.
        need_package node-ws
        # What checks and packs the client for browsers.
        need_command tsc node-typescript
        need_command esbuild esbuild
        need_command go golang-go
        need_package golang-github-gorilla-websocket-dev
        need_command javac default-jdk-headless
        # What looks at the package and the unit.
        need_command dpkg-shlibdeps dpkg-dev
        need_command strip binutils
        need_command lintian lintian
        need_command man man-db
        need_command systemd-analyze systemd
        ;;
    browser) need_command chromium chromium ;;
    instructions)
        need run
        need_command valgrind valgrind
        need_command strip binutils
        ;;
    peers)
        need_command nginx nginx
        need_package libnginx-mod-nchan
        ;;
    *)
        echo "setup: unknown scope '$1' (run, cluster, test, browser, instructions, peers)" >&2
        exit 2
        ;;
    esac
}

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "setup: this is not a Debian system, so nothing is installed here." >&2
    echo "setup: see CONTRIBUTING.md for what the build and the tests need." >&2
    exit 0
fi

[ $# -gt 0 ] || set -- run
for scope in "$@"; do need "$scope"; done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "setup: these packages are missing: ${missing[*]}" >&2
        echo "setup: install them as root: apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

# Some packages start a daemon when they are installed. It would take the ports that the tests and
# examples use, and in a container its start may fail. Debian's own switch for this is a policy-rc.d
# that says no; one that is there already is left alone.
policy=/usr/sbin/policy-rc.d
daemons=()
for package in "${missing[@]}"; do
    case $package in
    prometheus | nginx | haproxy | caddy | apache2 | lighttpd | php-fpm | redis-server | redis-sentinel)
        daemons+=("$package")
        ;;
    esac
done
placed_policy=no
remove_policy() {
    if [ "$placed_policy" = yes ]; then "${as_root[@]}" rm -f "$policy"; fi
}
trap remove_policy EXIT
trap 'exit 130' INT TERM
if [ ${#daemons[@]} -gt 0 ] && [ ! -e "$policy" ]; then
    placed_policy=yes
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi

echo "setup: installing ${missing[*]}"
"${as_root[@]}" apt-get update -q </dev/null
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null

# Nor should it start with the next boot.
if [ ${#daemons[@]} -gt 0 ] && [ -d /run/systemd/system ]; then
    for daemon in "${daemons[@]}"; do
        [ "$daemon" != php-fpm ] || daemon=$(basename -a /lib/systemd/system/php*-fpm.service | tail -n 1)
        "${as_root[@]}" systemctl disable --now "$daemon" || true
    done
fi
