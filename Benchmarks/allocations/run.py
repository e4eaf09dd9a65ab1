#!/usr/bin/env python3
"""Allocations per bridged message, and what an idle connection holds on the heap. See README.md."""

import argparse
import importlib.util
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("bridge", HERE.parent / "bridge" / "run.py")
bridge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bridge)

HANDSHAKE = (b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
OFFER = b"\r\nSec-WebSocket-Protocol: sidesocket.v1.json\r\n\r\n"
FORM = "1025q"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=".build/release/sidesocket", help="the sidesocket to measure")
    parser.add_argument("--size", type=int, default=64, help="bytes in a message")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--idle", type=int, default=2000, help="idle connections")
    arguments = parser.parse_args()
    if not os.access(arguments.binary, os.X_OK):
        sys.exit(f"bench: {arguments.binary} is not there; build it with: make release")

    bench = bridge.Bench(pathlib.Path(tempfile.mkdtemp(prefix="allocations-")))
    try:
        counter, counts = bench.folder / "count.so", bench.folder / "counts"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", counter, HERE / "count.c"], check=True)
        load, app, app_port = bench.build("load"), bench.build("app"), bridge.free_port()
        bench.start([app, app_port], app_port)
        preload = [f"LD_PRELOAD={counter}", f"ALLOCATIONS_FILE={counts}"]
        pid, port = bridge.start_sidesocket(bench, arguments.binary, preload, app_port)

        def read():
            first, *live = struct.unpack(FORM, counts.read_bytes()[: struct.calcsize(FORM)])
            return first, live

        def run(seconds):
            bridge.wait_until_idle(pid)
            before = read()[0]
            command = [load, str(port), "/ws", "50", str(arguments.size), str(seconds)]
            said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            bridge.wait_until_idle(pid)
            return read()[0] - before, said["messages"]

        # What opening and closing the sockets takes is in both, and taken off.
        few, many = run(0.2), run(arguments.seconds)
        print(f"allocations per message of {arguments.size} bytes: {(many[0] - few[0]) / (many[1] - few[1]):.1f}")

        def connect(request):
            sockets = []
            for _ in range(arguments.idle):
                sockets.append(socket.create_connection(("127.0.0.1", port)))
                sockets[-1].sendall(request)
                if not sockets[-1].recv(4096).startswith(b"HTTP/1.1 101"):
                    sys.exit("bench: a handshake was refused")
            return sockets

        def show(what, before):
            time.sleep(2)
            rows = [(16 * index + 8, (now - then) / arguments.idle)
                    for index, (then, now) in enumerate(zip(before, read()[1])) if now - then > arguments.idle / 5]
            print(f"on the heap for {what}: {sum(size * count for size, count in rows):.0f} bytes "
                  f"in {sum(count for _, count in rows):.0f} blocks")

        _, before = read()
        raw = connect(HANDSHAKE)
        show("an idle connection", before)
        _, before = read()
        clients = connect(HANDSHAKE.replace(b"\r\n\r\n", OFFER))
        show("an idle connection of a client of the protocol", before)
        # A reset, which leaves the session behind.
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        show("a session without a client", before)
        for client in raw:
            client.close()
        return 0
    finally:
        bench.stop()
        shutil.rmtree(bench.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
