#!/usr/bin/env bash
# What takes too long for every change: long fuzzing, the release build with its size, conformance
# of that build, integration tests that are long or large, and the benchmark.
set -euo pipefail
cd "$(dirname "$0")/.."

export SIDESOCKET_FUZZ_ITERATIONS=${SIDESOCKET_FUZZ_ITERATIONS:-5000000}
scripts/setup.sh run test peers

echo "=== fuzzing, $SIDESOCKET_FUZZ_ITERATIONS iterations each"
# Optimised, in a build folder of its own: testability changes how everything is compiled.
swift test --build-path .build-fuzz -c release -Xswiftc -enable-testing --filter FuzzTests
unset SIDESOCKET_FUZZ_ITERATIONS

echo "=== release build and its size"
make size

echo "=== conformance of the release build"
make conformance BINARY=.build/release/sidesocket

echo "=== long histories, in which the app fails in every way"
SIDESOCKET_BINARY=$PWD/.build/release/sidesocket SIDESOCKET_HISTORY_CLIENTS=200 SIDESOCKET_HISTORY_SECONDS=120 \
    SIDESOCKET_OUTAGE_SECONDS=20 .venv/bin/pytest -q Tests/Integration/delivery/test_history.py

echo "=== clients of the protocol whose connections are cut, and nodes that are restarted under them"
SIDESOCKET_BINARY=$PWD/.build/release/sidesocket SIDESOCKET_HISTORY_CLIENTS=200 SIDESOCKET_HISTORY_SECONDS=120 \
    .venv/bin/pytest -q -s Tests/Integration/protocol/test_protocol_history.py

echo "=== faults of the engine and of nodes, as seeds draw them"
SIDESOCKET_BINARY=$PWD/.build/release/sidesocket SIDESOCKET_FAULT_MINUTES="${SIDESOCKET_FAULT_MINUTES:-30}" \
    .venv/bin/pytest -q -s Tests/Integration/cluster/test_faults.py

echo "=== a storm of thousands, and the other tests that take long"
SIDESOCKET_BINARY=$PWD/.build/release/sidesocket SIDESOCKET_STORM_SOCKETS=5000 \
    .venv/bin/pytest -q Tests/Integration/guard/test_storm.py
SIDESOCKET_BINARY=$PWD/.build/release/sidesocket SIDESOCKET_STORM_SESSIONS=5000 \
    .venv/bin/pytest -q -s Tests/Integration/cluster/test_resume_storm.py
SIDESOCKET_BINARY=$PWD/.build/release/sidesocket .venv/bin/pytest -q -m nightly Tests/Integration

echo "=== benchmark"
make bench

echo "=== an hour of clients that come and go"
.venv/bin/python Tests/Soak/run.py --minutes "${SIDESOCKET_SOAK_MINUTES:-60}"
