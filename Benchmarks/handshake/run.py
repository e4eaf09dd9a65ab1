#!/usr/bin/env python3
"""CPU time per accepted WebSocket, and what it takes while it is idle: Sidesocket with its open event, and nchan where it
is installed. See README.md."""

import argparse
import importlib.util
import os
import pathlib
import shutil
import socket
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("bridge", HERE.parent / "bridge" / "run.py")
bridge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bridge)

REQUEST = (b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
           b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nOrigin: http://127.0.0.1\r\n\r\n")


def open_all(port, count):
    """So many sockets, some at a time, as many clients come."""
    sockets = []
    while len(sockets) < count:
        batch = [socket.create_connection(("127.0.0.1", port)) for _ in range(min(20, count - len(sockets)))]
        for one in batch:
            one.sendall(REQUEST)
        for one in batch:
            if not one.recv(4096).startswith(b"HTTP/1.1 101"):
                sys.exit("bench: a handshake was refused")
        sockets += batch
    return sockets


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=".build/release/sidesocket", help="the sidesocket to measure")
    parser.add_argument("--sockets", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--versus-binary", help="another binary, in the same rounds")
    arguments = parser.parse_args()
    if not os.access(arguments.binary, os.X_OK):
        sys.exit(f"bench: {arguments.binary} is not there; build it with: make release")

    bench = bridge.Bench(pathlib.Path(tempfile.mkdtemp(prefix="handshake-")))
    try:
        app, app_port = bench.build("app"), bridge.free_port()
        bench.start([app, app_port], app_port)
        servers = {"sidesocket": bridge.start_sidesocket(bench, arguments.binary, [], app_port)}
        if arguments.versus_binary:
            servers["versus"] = bridge.start_sidesocket(bench, arguments.versus_binary, [], app_port)
        servers["nchan"] = bridge.start_nchan(bench, app_port)
        servers = {name: server for name, server in servers.items() if server}
        rows = {name: [] for name in servers}
        for number in range(-1, arguments.rounds):  # round -1 warms up and does not count
            for name, (pid, port) in servers.items():
                bridge.wait_until_idle(pid)
                before = bridge.cpu_seconds(pid)
                sockets = open_all(port, arguments.sockets)
                bridge.wait_until_idle(pid)
                used = bridge.cpu_seconds(pid) - before
                for one in sockets:
                    one.close()
                if number >= 0:
                    rows[name].append((number, used / arguments.sockets * 1e6, {}))
        print(f"{arguments.sockets} sockets, {arguments.rounds} rounds; medians")
        bridge.print_table(rows, "CPU µs/accept", ())
        return 0
    finally:
        bench.stop()
        shutil.rmtree(bench.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
