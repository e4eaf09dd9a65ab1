#!/bin/bash
# Asks the control listener for /healthz, with nothing but bash. For listeners on HOST:PORT.
set -euo pipefail
listen=${SIDESOCKET_CONTROL_LISTEN:-127.0.0.1:9090}
exec 3<>"/dev/tcp/127.0.0.1/${listen##*:}"
printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 2 _ status _ <&3
[ "$status" = 200 ]
