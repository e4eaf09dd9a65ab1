#!/usr/bin/env bash
# Starts an example app with Sidesocket before it and prints the address of its page. Ctrl-C stops both.
#
#   EXAMPLE=python|php|node   which app (python)
#   PUBLIC_PORT APP_PORT CONTROL_PORT
#                             8080, 3000 and 9090, or the next free port after them
#   PUBLIC_HOST=127.0.0.1     the address that Sidesocket listens on
#   BINARY=.build/debug/sidesocket
#
# Other SIDESOCKET_ variables reach Sidesocket as they are.
set -euo pipefail
cd "$(dirname "$0")/.."

example=${EXAMPLE:-python}
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
            echo "run: $1=$port is in use; choose another: make run $1=…" >&2
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
    echo "run: $binary is not there; run 'make run', or set BINARY" >&2
    exit 1
fi
case $example in
python) app=(python3 examples/python/app.py) ;;
php) app=(php examples/php/app.php) ;;
node) app=(node examples/node/app.js) ;;
*)
    echo "run: EXAMPLE=$example is unknown; python, php and node are there" >&2
    exit 2
    ;;
esac
if ! command -v "${app[0]}" >/dev/null 2>&1; then
    echo "run: this example needs ${app[0]}, which is not installed" >&2
    exit 1
fi

choose_port PUBLIC_PORT 8080
choose_port APP_PORT 3000
choose_port CONTROL_PORT 9090

app_pid='' sidecar_pid='' status=0

# Sidesocket goes first: while it drains, the app still has to take its close events.
stop() {
    trap - EXIT
    trap '' INT TERM HUP
    if [ -n "$sidecar_pid" ]; then
        kill -TERM "$sidecar_pid" 2>/dev/null || true
        wait "$sidecar_pid" 2>/dev/null || true
    fi
    if [ -n "$app_pid" ]; then
        kill -TERM "$app_pid" 2>/dev/null || true
        wait "$app_pid" 2>/dev/null || true
    fi
    exit "$status"
}
trap stop EXIT
trap 'echo; echo "run: stopping"; stop' INT TERM HUP

# Background jobs of a script ignore Ctrl-C by themselves, so the order above holds.
HOST=127.0.0.1 PORT="$APP_PORT" "${app[@]}" &
app_pid=$!
SIDESOCKET_APP_URL="http://127.0.0.1:$APP_PORT" \
    SIDESOCKET_LISTEN="$host:$PUBLIC_PORT" \
    SIDESOCKET_CONTROL_LISTEN="127.0.0.1:$CONTROL_PORT" \
    SIDESOCKET_CLIENT_SCRIPT="${SIDESOCKET_CLIENT_SCRIPT:-/sidesocket.js}" \
    SIDESOCKET_HISTORY_SIZE="${SIDESOCKET_HISTORY_SIZE:-100}" \
    SIDESOCKET_CHANNEL_POLICIES="${SIDESOCKET_CHANNEL_POLICIES:-room*=presence=on,client-events=on}" \
    SIDESOCKET_LOG_FORMAT="${SIDESOCKET_LOG_FORMAT:-text}" \
    SIDESOCKET_DRAIN_TIMEOUT="${SIDESOCKET_DRAIN_TIMEOUT:-2s}" \
    "$binary" &
sidecar_pid=$!

for ((i = 0; i < 150; i++)); do
    for child in "$app_pid" "$sidecar_pid"; do
        if ! kill -0 "$child" 2>/dev/null; then
            status=0
            wait "$child" || status=$?
            echo "run: a process ended at the start with status $status" >&2
            [ "$status" -ne 0 ] || status=1
            exit
        fi
    done
    if listens "$APP_PORT" && listens "$PUBLIC_PORT" "$shown"; then break; fi
    sleep 0.1
done
if ! listens "$APP_PORT" || ! listens "$PUBLIC_PORT" "$shown"; then
    echo "run: the app or Sidesocket did not start to listen within 15 seconds" >&2
    status=1
    exit
fi

cat <<TEXT

  The $example app answers plain HTTP on port $APP_PORT; Sidesocket stands before it.

  Open this page:  http://$shown:$PUBLIC_PORT/
  Metrics:         http://127.0.0.1:$CONTROL_PORT/metrics

  Ctrl-C stops both.

TEXT

wait -n "$app_pid" "$sidecar_pid" || status=$?
echo "run: one of the two processes ended with status $status" >&2
[ "$status" -ne 0 ] || status=1
