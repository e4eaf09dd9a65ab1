#!/usr/bin/env bash
# Checks the rules between the targets, which the compiler alone cannot keep.
#
#   scripts/check-layers.sh              check Sources/
#   scripts/check-layers.sh --self-test  check that each rule catches a violation
#
# Why: WebSocketProtocol, HTTP1 and SidecarCore are values. Bytes and events go in, actions come out, and
# time and randomness are arguments. Only so can their tests run without sockets and without sleeps.
set -euo pipefail

pure_targets="WebSocketProtocol HTTP1 SidecarCore TokenVerifier"
# Synchronization is the standard library's: a counter shared by all event loops needs its atomics.
pure_imports="NIOCore DequeModule Synchronization Crypto JWTKit FoundationEssentials"
# A target, then the targets of this package that it may import. These are the arrows.
arrows="
CZlib:
CSQLite:
DeliveryOutbox: CSQLite
WebSocketProtocol: CZlib
HTTP1:
SidecarCore: HTTP1
PrometheusMetrics:
ListenerSupport:
ControlPlane: SidecarCore ListenerSupport
TokenVerifier: SidecarCore
RedisClient:
RedisCluster: RedisClient SidecarCore
RedisIngest: RedisClient SidecarCore
SidecarServer: WebSocketProtocol HTTP1 SidecarCore ListenerSupport DeliveryOutbox TokenVerifier
sidesocket: SidecarServer SidecarCore ControlPlane ListenerSupport PrometheusMetrics DeliveryOutbox TokenVerifier RedisClient RedisCluster RedisIngest
"
# What does I/O, reads a clock or draws a random number; looked for outside of comments.
impure='\b(Channel|ChannelHandler|ChannelHandlerContext|ChannelPipeline|ChannelInboundHandler|ChannelDuplexHandler'
impure+='|EventLoop|EventLoopFuture|EventLoopGroup|EventLoopPromise|SystemRandomNumberGenerator)\b'
impure+='|\.now\b|\.random\(|\.randomElement\(|\.shuffled\('

faults=0
fault() { # FILE MESSAGE
    echo "$1: $2" >&2
    faults=$((faults + 1))
}
includes() { # WORD LIST
    case " $2 " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}
# Prints "LINE MODULE" for each import of a file: with attributes, access level and kind if there.
imports_of() { # FILE
    sed -nE 's://.*$::; t reset; :reset; s/^[[:space:]]*((@[A-Za-z_]+(\([^)]*\))?|public|package|internal|fileprivate|private)[[:space:]]+)*import[[:space:]]+((struct|class|enum|protocol|typealias|func|let|var)[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*).*/\6/; t print; d; :print =; p' "$1" | paste -d ' ' - -
}

check() { # ROOT
    local root=$1 folder target allowed own file line module text
    own=$(sed -nE 's/^([A-Za-z0-9]+):.*/\1/p' <<<"$arrows" | paste -sd ' ')
    faults=0
    for folder in "$root"/Sources/*/; do
        target=$(basename "$folder")
        if ! grep -q "^$target:" <<<"$arrows"; then
            fault "Sources/$target" "this target has no line in scripts/check-layers.sh; say there what it may import"
            continue
        fi
        allowed=$(sed -nE "s/^$target: *//p" <<<"$arrows")
        while IFS= read -r -d '' file; do
            while read -r line module; do
                [ -n "$module" ] || continue
                if [ "$module" = Foundation ]; then
                    fault "$file:$line" "imports Foundation, which adds about 40 MB (ICU) to the binary; FoundationEssentials is enough"
                elif includes "$module" "$own"; then
                    includes "$module" "$allowed" ||
                        fault "$file:$line" "$target must not know $module (it may import: ${allowed:-no other target})"
                elif includes "$target" "$pure_targets" && ! includes "$module" "$pure_imports"; then
                    fault "$file:$line" "$target is pure and must not import $module (it may import: $pure_imports)"
                fi
            done < <(imports_of "$file")
            while IFS=: read -r line text; do
                [ -n "$line" ] || continue
                fault "$file:$line" "a package import keeps the compiler from specialising across modules, which cost 20 % of the instructions per message; say public or nothing"
            done < <(grep -nE '^[[:space:]]*(@[A-Za-z_]+[[:space:]]+)*package[[:space:]]+import\b' "$file" || true)
            if includes "$target" "$pure_targets"; then
                while IFS=: read -r line text; do
                    [ -n "$line" ] || continue
                    fault "$file:$line" "$target is pure: no I/O, clock or randomness; take it as an argument: ${text#"${text%%[![:space:]]*}"}"
                done < <(sed 's://.*$::' "$file" | grep -nP "$impure" || true)
            fi
        done < <(find "$folder" -name '*.swift' -print0 | sort -z)
    done
    [ "$faults" -eq 0 ]
}

self_test() {
    local tree failed=0 number=0
    tree=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder's name is wanted as it is now
    trap "rm -rf '$tree'" EXIT

    expect() { # pass|fail FILE TEXT
        local want=$1 file=$2 got=pass
        number=$((number + 1))
        rm -rf "$tree/Sources"
        mkdir -p "$tree/Sources/$(dirname "$file")"
        printf '%s\n' "$3" >"$tree/Sources/$file"
        check "$tree" 2>"$tree/said" || got=fail
        if [ "$got" != "$want" ]; then
            echo "self-test $number: expected $want, got $got for $file: $3" >&2
            cat "$tree/said" >&2
            failed=1
        fi
    }

    expect pass WebSocketProtocol/A.swift 'public import NIOCore'
    expect pass WebSocketProtocol/A.swift '// A Channel reads .now() and .random( for us.'
    expect pass WebSocketProtocol/A.swift 'let deadline = now + timeout; let ChannelsOpen = 1'
    expect pass SidecarCore/A.swift 'public import HTTP1'
    expect pass SidecarCore/A.swift 'if done { queue = [] } // drop what it held'
    expect pass SidecarCore/Deep/A.swift 'import struct DequeModule.Deque'
    expect pass SidecarCore/A.swift $'import NIOCore\nimport Synchronization'
    expect pass SidecarServer/A.swift $'import NIOPosix\nimport SidecarCore\nimport WebSocketProtocol'
    expect pass SidecarServer/A.swift 'func f(_ channel: Channel) { _ = NIODeadline.now() }'
    expect pass ControlPlane/A.swift $'import Hummingbird\nimport SidecarCore'
    expect pass sidesocket/main.swift $'import SidecarServer\nimport ControlPlane\nimport PrometheusMetrics'

    expect fail WebSocketProtocol/A.swift 'import SidecarCore'
    expect fail SidecarCore/A.swift 'import WebSocketProtocol'
    expect fail HTTP1/A.swift 'import SidecarCore'
    expect fail HTTP1/A.swift 'func f(_ channel: any Channel) {}'
    expect fail ControlPlane/A.swift 'import HTTP1'
    expect fail WebSocketProtocol/A.swift 'import NIOPosix'
    expect fail WebSocketProtocol/A.swift '@preconcurrency public import NIOHTTP1'
    expect fail SidecarCore/Deep/A.swift '    import Logging // for now'
    expect fail SidecarCore/A.swift 'import Glibc'
    expect fail SidecarCore/A.swift 'func f(_ channel: any Channel) {}'
    expect fail SidecarCore/A.swift 'let loop: any EventLoop'
    expect fail SidecarCore/A.swift 'let promise: EventLoopPromise<Void>'
    expect fail WebSocketProtocol/A.swift 'let at = NIODeadline.now()'
    expect fail WebSocketProtocol/A.swift 'let at = ContinuousClock.now'
    expect fail WebSocketProtocol/A.swift 'let key = UInt32.random(in: 0...9)'
    expect fail WebSocketProtocol/A.swift 'var source = SystemRandomNumberGenerator()'
    expect fail ControlPlane/A.swift 'import SidecarServer'
    expect fail ControlPlane/A.swift 'import WebSocketProtocol'
    expect fail SidecarServer/A.swift 'import ControlPlane'
    expect fail PrometheusMetrics/A.swift 'import SidecarCore'
    expect fail sidesocket/main.swift 'import WebSocketProtocol'
    expect fail SidecarServer/A.swift 'import Foundation'
    expect fail sidesocket/main.swift 'import struct Foundation.URL'
    expect fail SidecarServer/A.swift 'package import NIOCore'
    expect fail Stranger/A.swift 'import NIOCore'

    if [ "$failed" -ne 0 ]; then return 1; fi
    echo "check-layers: self-test passed ($number cases)"
}

if [ "${1:-}" = --self-test ]; then
    self_test
    exit
fi
cd "$(dirname "$0")/.."
if check .; then
    echo "check-layers: the targets keep their rules"
else
    echo "check-layers: $faults fault(s); the rules and their reasons are in CONTRIBUTING.md" >&2
    exit 1
fi
