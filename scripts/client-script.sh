#!/usr/bin/env bash
# Makes the form of clients/javascript/sidesocket.js that is in the binary (CLIENT_SCRIPT).
#
#   scripts/client-script.sh           writes it
#   scripts/client-script.sh --check   fails if it is not up to date
set -euo pipefail
cd "$(dirname "$0")/.."
source=clients/javascript/sidesocket.js
target=Sources/SidecarServer/Client/Script/sidesocket.min.js

if ! command -v esbuild >/dev/null 2>&1; then
    echo "esbuild is needed: scripts/setup.sh test" >&2
    exit 1
fi
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
esbuild "$source" --minify --format=esm --target=es2022 --charset=utf8 --legal-comments=inline >"$made/script"
gzip -9 -n -c "$made/script" >"$made/script.gz"
if [ "${1:-}" = --check ]; then
    if ! cmp -s "$made/script" "$target" || ! gzip -dc "$target.gz" | cmp -s - "$target"; then
        echo "$target is not made from $source: run scripts/client-script.sh" >&2
        exit 1
    fi
    exit 0
fi
cp "$made/script" "$target"
cp "$made/script.gz" "$target.gz"
wc -c "$target" "$target.gz"
