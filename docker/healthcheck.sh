#!/bin/bash
# Asks the control listener for /healthz: the first HOST:PORT of SIDESOCKET_CONTROL_LISTEN, over TLS if
# SIDESOCKET_CONTROL_TLS_CERT is set. Settings in flags or in a settings file are not seen here.
set -euo pipefail

IFS=', ' read -r -a listeners <<<"${SIDESOCKET_CONTROL_LISTEN:-127.0.0.1:9090}"
for listener in "${listeners[@]}"; do
    [[ $listener == unix:* ]] || break
done
if [[ $listener == unix:* ]]; then
    echo "the health check needs a control listener on HOST:PORT" >&2
    exit 1
fi
port=${listener##*:} host=${listener%:*}
host=${host#[} host=${host%]}
case $host in
0.0.0.0) host=127.0.0.1 ;;
::) host=::1 ;;
esac

ask() {
    printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
}

if [[ -n ${SIDESOCKET_CONTROL_TLS_CERT:-} ]]; then
    [[ $host != *:* ]] || host="[$host]"
    # The certificate is not verified: it may not name this address, and nobody can get between.
    reply=$(ask | timeout 2 openssl s_client -quiet -verify_quiet -connect "$host:$port") || true
    read -r _ status _ <<<"$reply"
else
    exec 3<>"/dev/tcp/$host/$port"
    ask >&3
    read -r -t 2 _ status _ <&3
fi
[[ $status == 200 ]]
