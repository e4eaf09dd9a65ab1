#!/usr/bin/env python3
"""CPU time per delivery of a published message: Sidesocket, and nchan where it is installed. See README.md."""

import argparse
import http.server
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("bridge", HERE.parent / "bridge" / "run.py")
bridge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bridge)


class App(http.server.BaseHTTPRequestHandler):
    """Lets every client into one channel."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        if self.headers["ce-type"] == "sidesocket.open":
            self.send_header("Sidesocket-Subscribe", "room")
        self.end_headers()

    def log_message(self, *_):
        pass


def start_sidesocket(bench, binary, arguments, app_port):
    control = bridge.free_port()
    settings = [f"SIDESOCKET_CONTROL_LISTEN=127.0.0.1:{control}", "SIDESOCKET_SSE_PATHS=/sse", *arguments.env]
    pid, port = bridge.start_sidesocket(bench, binary, settings, app_port)
    return pid, port, f"/{arguments.transport}", control, "/v1/channels/room/messages", arguments.transport


def start_nchan(bench, transport):
    started = bridge.start_nginx(bench, "", """
    location /ws { nchan_subscriber websocket; nchan_channel_id room; nchan_subscriber_first_message newest; }
    location /sse { nchan_subscriber eventsource; nchan_channel_id room; nchan_subscriber_first_message newest; }
    location /publish { nchan_publisher; nchan_channel_id room; nchan_message_buffer_length 1; }
""")
    if started is None:
        return None
    pid, port = started
    return pid, port, f"/{transport}", port, "/publish", transport


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=".build/release/sidesocket", help="the sidesocket to measure")
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100,
                        help="publications per second; 0 publishes again when the last one is answered")
    parser.add_argument("--transport", choices=("ws", "sse"), default="ws")
    parser.add_argument("--stalled", type=int, default=0, help="subscribers beside these that never read")
    parser.add_argument("--size", type=int, default=64, help="bytes in a message")
    parser.add_argument("--seconds", type=float, default=3, help="length of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a setting for sidesocket")
    parser.add_argument("--protocol", action="store_true", help="clients of the client protocol too, in the same rounds")
    parser.add_argument("--versus-binary", help="another binary, in the same rounds")
    arguments = parser.parse_args()
    if not os.access(arguments.binary, os.X_OK):
        sys.exit(f"bench: {arguments.binary} is not there; build it with: make release")

    bench = bridge.Bench(pathlib.Path(tempfile.mkdtemp(prefix="fanout-")))
    bridge.HERE = HERE
    http.server.ThreadingHTTPServer.request_queue_size = 1024
    app = http.server.ThreadingHTTPServer(("127.0.0.1", 0), App)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    try:
        load = bench.build("load")
        app_port = app.server_address[1]
        servers = {"sidesocket": start_sidesocket(bench, arguments.binary, arguments, app_port)}
        if arguments.versus_binary:
            servers["versus"] = start_sidesocket(bench, arguments.versus_binary, arguments, app_port)
        if arguments.protocol:
            started = start_sidesocket(bench, arguments.binary, arguments, app_port)
            servers["protocol"] = (*started[:2], "/ws", *started[3:5], "protocol")
        if nchan := start_nchan(bench, arguments.transport):
            servers["nchan"] = nchan
        else:
            print("nchan is not installed and is left out (Debian: scripts/setup.sh peers)")
        rows = {name: [] for name in servers}
        failed = False
        for number in range(-1, arguments.rounds):  # round -1 warms up and does not count
            for name, (pid, port, path, publish_port, publish_path, transport) in servers.items():
                shape = [arguments.subscribers, arguments.rate, arguments.size]

                def measure(seconds):
                    command = [load, port, path, publish_port, publish_path, *shape, seconds,
                               transport, arguments.stalled]
                    bridge.wait_until_idle(pid)
                    before = bridge.cpu_seconds(pid)
                    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
                    bridge.wait_until_idle(pid)
                    return bridge.cpu_seconds(pid) - before, json.loads(run.stdout)

                # What opening and closing the sockets costs is taken off.
                opening, few = measure(1 / arguments.rate if arguments.rate else 0.001)
                used, said = measure(arguments.seconds)
                if said["errors"] or said["missing"]:
                    failed = True
                    print(f"round {number}: {name}: {said}", file=sys.stderr)
                elif number >= 0:
                    what = "deliveries" if arguments.subscribers else "published"
                    said["rate"] = said["published"] / arguments.seconds
                    rows[name].append((number, (used - opening) / (said[what] - few[what]) * 1e6, said))

        print(f"{arguments.subscribers} subscribers ({arguments.transport}), "
              f"{arguments.rate or 'as many as are answered'} publications/s of {arguments.size} bytes, "
              f"{arguments.rounds} rounds of {arguments.seconds:g} s; medians")
        cost = "CPU µs/delivery" if arguments.subscribers else "CPU µs/publish"
        bridge.print_table(rows, cost, ("rate", "p50_ms", "p99_ms"))
        return 1 if failed else 0
    finally:
        bench.stop()
        app.shutdown()
        shutil.rmtree(bench.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
