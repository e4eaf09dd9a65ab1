#!/usr/bin/env python3
"""CPU time per request that is passed through: Sidesocket, nginx, and caddy where it is installed. See README.md."""

import argparse
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("bridge", HERE.parent / "bridge" / "run.py")
bridge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bridge)

POST = 'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/octet-stream"\nwrk.body = string.rep("x", %d)\n'


def start_caddy(bench, app_port):
    """A reverse proxy of the same shape, on one thread."""
    if not shutil.which("caddy"):
        return None
    port, folder = bridge.free_port(), bench.folder
    config = folder / "Caddyfile"
    config.write_text("{\n admin off\n auto_https off\n log {\n  level ERROR\n }\n}\n"
                      f"http://127.0.0.1:{port} {{\n reverse_proxy 127.0.0.1:{app_port}\n}}\n")
    environment = {**os.environ, "GOMAXPROCS": "1", "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    return bench.start(["caddy", "run", "--config", config, "--adapter", "caddyfile"], port, environment), port


def start_nginx(bench, app_port):
    return bridge.start_nginx(bench, f"  upstream app {{ server 127.0.0.1:{app_port}; keepalive 256; }}", """
    location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }
""")


def measure(pid, port, arguments, script):
    """CPU per request in microseconds, and what wrk said."""
    bridge.wait_until_idle(pid)
    command = ["wrk", "-t1", f"-c{arguments.connections}", f"-d{arguments.seconds}s", "--latency"]
    command += ["-s", script] if script else []
    before = bridge.cpu_seconds(pid)
    run = subprocess.run([*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True)
    used = bridge.cpu_seconds(pid) - before
    requests = int(re.search(r"(\d+) requests in", run.stdout).group(1))
    unit = {"us": 1e-3, "ms": 1, "s": 1e3}

    def percentile(name):
        value, scale = re.search(rf"\s{name}%\s+([\d.]+)(us|ms|s)", run.stdout).groups()
        return float(value) * unit[scale]

    said = {"rate": requests / arguments.seconds, "p50_ms": percentile(50), "p99_ms": percentile(99)}
    return used / requests * 1e6, said, "Non-2xx" in run.stdout or "Socket errors" in run.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=".build/release/sidesocket", help="the sidesocket to measure")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=3, help="length of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a setting for sidesocket")
    arguments = parser.parse_args()
    for needed in (arguments.binary, "wrk"):
        if not shutil.which(needed):
            sys.exit(f"bench: {needed} is not there; see README.md")

    bench = bridge.Bench(pathlib.Path(tempfile.mkdtemp(prefix="passthrough-")))
    try:
        pages = bridge.start_nginx(bench, "", f'    location / {{ return 200 "{"x" * 1024}"; }}\n')
        if pages is None:
            sys.exit("bench: nginx is not installed (Debian: scripts/setup.sh peers)")
        # It reads what is posted, as an app does; a page of nginx would answer before that.
        echo, echo_port = bench.build("app"), bridge.free_port()
        bench.start([echo, echo_port], echo_port)
        post = bench.folder / "post.lua"
        post.write_text(POST % 16384)
        failed = False
        for title, script, app_port in (("GET, 1 KiB back", None, pages[1]), ("POST of 16 KiB, and back", post, echo_port)):
            servers = {
                "sidesocket": bridge.start_sidesocket(bench, arguments.binary, arguments.env, app_port),
                "nginx": start_nginx(bench, app_port),
                "caddy": start_caddy(bench, app_port),
            }
            servers = {name: server for name, server in servers.items() if server}
            rows = {name: [] for name in servers}
            for number in range(-1, arguments.rounds):  # round -1 warms up and does not count
                for name, (pid, port) in servers.items():
                    cost, said, is_bad = measure(pid, port, arguments, script)
                    failed |= is_bad
                    if number >= 0:
                        rows[name].append((number, cost, said))
            print(f"\n{title}, {arguments.connections} connections, {arguments.rounds} rounds of "
                  f"{arguments.seconds} s; medians")
            bridge.print_table(rows, "CPU µs/request", ("rate", "p50_ms", "p99_ms"))
        return 1 if failed else 0
    finally:
        bench.stop()
        shutil.rmtree(bench.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
