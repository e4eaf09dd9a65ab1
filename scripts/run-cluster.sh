#!/usr/bin/env bash
# Starts two Sidesockets with Redis between them, nginx before them and the example app behind them, all on this
# machine, and prints the address of the page and what to try. Ctrl-C stops everything.
#
#   PUBLIC_PORT APP_PORT REDIS_PORT NODE1_PORT NODE2_PORT CONTROL1_PORT CONTROL2_PORT
#                             8080 (nginx), 3000, 6379, 8081, 8082, 9090 and 9091, or the next free port after them
#   PUBLIC_HOST=127.0.0.1     the address that nginx listens on
#   BINARY=.build/debug/sidesocket
#
# Other SIDESOCKET_ variables reach both Sidesockets as they are.
set -euo pipefail
cd "$(dirname "$0")/.."
# Debian keeps servers there, where a user's own PATH need not lead.
PATH=$PATH:/usr/sbin:/sbin

host=${PUBLIC_HOST:-127.0.0.1}
shown=$host
case $host in 0.0.0.0 | '[::]') shown=127.0.0.1 ;; esac
binary=${BINARY:-.build/debug/sidesocket}

listens() { # PORT [HOST]: does anything answer there?
    (exec 3<>"/dev/tcp/${2:-127.0.0.1}/$1") 2>/dev/null
}

taken=()
# Sets the variable NAME to the port that was asked for, or to the first free one from DEFAULT on.
choose_port() { # NAME DEFAULT
    local port=${!1:-} candidate
    if [ -n "$port" ]; then
        if listens "$port"; then
            echo "run-cluster: $1=$port is in use; choose another: make run-cluster $1=…" >&2
            exit 1
        fi
    else
        for ((candidate = $2; candidate < $2 + 100; candidate++)); do
            case " ${taken[*]} " in *" $candidate "*) continue ;; esac
            listens "$candidate" || break
        done
        port=$candidate
    fi
    taken+=("$port")
    printf -v "$1" %s "$port"
}

if [ ! -x "$binary" ]; then
    echo "run-cluster: $binary is not there; run 'make run-cluster', or set BINARY" >&2
    exit 1
fi
for program in redis-server nginx python3; do
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "run-cluster: $program is not installed; 'scripts/setup.sh cluster' installs it" >&2
        exit 1
    fi
done

choose_port PUBLIC_PORT 8080
choose_port APP_PORT 3000
choose_port REDIS_PORT 6379
choose_port NODE1_PORT 8081
choose_port NODE2_PORT 8082
choose_port CONTROL1_PORT 9090
choose_port CONTROL2_PORT 9091

folder='' app='' redis='' nginx='' node1='' node2='' status=0

# Ends processes, also those that are stopped (kill -STOP), and waits for them. Whatever is still there after ten
# seconds is killed.
end() { # PID…
    local process i
    for process in "$@"; do
        kill -TERM "$process" 2>/dev/null || true
        kill -CONT "$process" 2>/dev/null || true
    done
    for process in "$@"; do
        for ((i = 0; i < 100; i++)); do
            kill -0 "$process" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
}

# The nodes go first: while they drain, the app still has to take their close events, and Redis has to be there.
stop() {
    trap - EXIT
    trap '' INT TERM HUP QUIT
    # shellcheck disable=SC2086 # those that were not started are no words
    end $node1 $node2
    # shellcheck disable=SC2086
    end $nginx $app $redis
    [ -z "$folder" ] || rm -rf "$folder"
    exit "$status"
}
trap stop EXIT
trap 'echo; echo "run-cluster: stopping"; stop' INT TERM HUP QUIT

folder=$(mktemp -d "${TMPDIR:-/tmp}/sidesocket-cluster.XXXXXX")

# Sets NAME to the pid of a command in the background. In a session of its own Ctrl-C does not reach it, so the order
# above holds.
start() { # NAME COMMAND…
    local name=$1
    shift
    setsid "$@" &
    printf -v "$name" %s "$!"
}

# Waits until a process listens.
await() { # NAME PORT [HOST]
    local i code=0
    for ((i = 0; i < 150; i++)); do
        if ! kill -0 "${!1}" 2>/dev/null; then
            wait "${!1}" || code=$?
            [ "$1" != redis ] || cat "$folder/redis.log" >&2 || true
            echo "run-cluster: $1 ended at the start with status $code" >&2
            give_up
        fi
        if listens "$2" "${3:-127.0.0.1}"; then return; fi
        sleep 0.1
    done
    echo "run-cluster: $1 did not start to listen on port $2 within 15 seconds" >&2
    give_up
}
give_up() {
    status=1
    exit
}

# It keeps nothing on disk. No other policy than noeviction is safe for channels.
start redis redis-server --bind 127.0.0.1 --port "$REDIS_PORT" --dir "$folder" --logfile "$folder/redis.log" \
    --save '' --appendonly no --maxmemory 256mb --maxmemory-policy noeviction --daemonize no
await redis "$REDIS_PORT"

start app env HOST=127.0.0.1 PORT="$APP_PORT" python3 examples/python/app.py

secret=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
start_node() { # NUMBER PORT CONTROL_PORT
    # The history is what a node catches up from, after Redis was away for a while.
    start "node$1" env \
        SIDESOCKET_APP_URL="http://127.0.0.1:$APP_PORT" \
        SIDESOCKET_LISTEN="127.0.0.1:$2" \
        SIDESOCKET_CONTROL_LISTEN="127.0.0.1:$3" \
        SIDESOCKET_NODE_NAME="node$1" \
        SIDESOCKET_CLUSTER_URL="redis://127.0.0.1:$REDIS_PORT" \
        SIDESOCKET_CLUSTER_SECRET="${SIDESOCKET_CLUSTER_SECRET:-$secret}" \
        SIDESOCKET_HISTORY_SIZE="${SIDESOCKET_HISTORY_SIZE:-100}" \
        SIDESOCKET_TRUSTED_PROXIES=loopback \
        SIDESOCKET_LB=nginx \
        SIDESOCKET_CLIENT_SCRIPT="${SIDESOCKET_CLIENT_SCRIPT:-/sidesocket.js}" \
        SIDESOCKET_CHANNEL_POLICIES="${SIDESOCKET_CHANNEL_POLICIES:-room*=presence=on,client-events=on}" \
        SIDESOCKET_LOG_FORMAT="${SIDESOCKET_LOG_FORMAT:-text}" \
        SIDESOCKET_DRAIN_TIMEOUT="${SIDESOCKET_DRAIN_TIMEOUT:-2s}" \
        "$binary"
}
start_node 1 "$NODE1_PORT" "$CONTROL1_PORT"
start_node 2 "$NODE2_PORT" "$CONTROL2_PORT"

# As docs/reverse-proxies.md has it. A node that does not answer is left out for two seconds.
cat >"$folder/nginx.conf" <<TEXT
daemon off;
worker_processes 1;
pid $folder/nginx.pid;
error_log stderr crit;

events {
    worker_connections 1024;
}

http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path       $folder/proxy;
    fastcgi_temp_path     $folder/fastcgi;
    uwsgi_temp_path       $folder/uwsgi;
    scgi_temp_path        $folder/scgi;

    map \$http_upgrade \$connection_upgrade {
        default upgrade;
        ''      "";
    }

    upstream sidesocket {
        server 127.0.0.1:$NODE1_PORT fail_timeout=2s;
        server 127.0.0.1:$NODE2_PORT fail_timeout=2s;
        keepalive 64;
    }

    server {
        listen $host:$PUBLIC_PORT;

        location / {
            proxy_pass http://sidesocket;
            proxy_http_version 1.1;

            proxy_set_header Host              \$host:\$server_port;
            proxy_set_header X-Forwarded-For   \$remote_addr;
            proxy_set_header X-Forwarded-Proto \$scheme;
            proxy_set_header X-Forwarded-Host  \$host:\$server_port;
            proxy_set_header Upgrade           \$http_upgrade;
            proxy_set_header Connection        \$connection_upgrade;

            proxy_read_timeout 60s;
            proxy_buffering off;
            proxy_request_buffering off;
        }
    }
}
TEXT
start nginx nginx -e stderr -p "$folder" -c "$folder/nginx.conf"

await app "$APP_PORT"
await node1 "$NODE1_PORT"
await node2 "$NODE2_PORT"
await nginx "$PUBLIC_PORT" "$shown"

cat <<TEXT

  nginx sends clients to two Sidesockets in turn; between these is Redis, behind them the python example app.

  Open this page twice:  http://$shown:$PUBLIC_PORT/
  What one page says, both hear. Either node lists the connections of both:

    node1, pid $node1:  curl http://127.0.0.1:$CONTROL1_PORT/v1/connections
    node2, pid $node2:  curl http://127.0.0.1:$CONTROL2_PORT/v1/connections

  Let Redis hang for ten seconds: the pages stay connected, and what they say meanwhile is heard afterwards.

    kill -STOP $redis; sleep 10; kill -CONT $redis

  Kill a node and go on: its pages reconnect to the other one, which stops listing it after ten seconds.

    kill -9 $node1
    curl http://127.0.0.1:$CONTROL2_PORT/v1/nodes

  Ctrl-C stops everything.

TEXT

# A node may end; the rest has to be there. `wait -n` would miss one of two that end at once. What the shell itself says
# about a killed process is left out.
while true; do
    for name in node1 node2 app redis nginx; do
        process=${!name} code=0
        if [ -z "$process" ] || kill -0 "$process"; then continue; fi
        wait "$process" || code=$?
        printf -v "$name" %s ''
        echo "run-cluster: $name ended with status $code" >&3
        case $name in node*) [ -z "$node1$node2" ] || continue ;; esac
        status=1
        exit
    done
    sleep 0.5 || true
done 3>&2 2>/dev/null
