#!/usr/bin/env python3
"""CPU time per bridged message: Sidesocket, and nchan where it is installed. See README.md."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")


class Bench:
    """The processes of one run, and the folder they write to."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []

    def build(self, name):
        compiler = next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
        if compiler is None:
            sys.exit("bench: a C compiler is needed (cc, gcc or clang)")
        program = self.folder / name
        subprocess.run([compiler, "-O2", "-o", program, HERE / f"{name}.c"], check=True)
        return program

    def start(self, command, port, environment=None):
        """Starts a server and returns once it accepts connections."""
        log = self.folder / f"{pathlib.Path(command[0]).name}.log"
        process = subprocess.Popen(
            [str(part) for part in command], env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(log, "wb"),
        )
        self.processes.append(process)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process.pid
            time.sleep(0.05)
        sys.exit(f"bench: {command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(root):
    """User and system time of a process and its descendants so far."""
    parents, used = {}, {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(entry)] = int(fields[1])
        used[int(entry)] = (int(fields[11]) + int(fields[12])) / TICKS
    family, grew = {root}, True
    while grew:
        children = {p for p, parent in parents.items() if parent in family} - family
        family |= children
        grew = bool(children)
    return sum(used.get(p, 0) for p in family)


def start_sidesocket(bench, binary, settings, app_port):
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SIDESOCKET_")}
    environment |= {
        "SIDESOCKET_LISTEN": f"127.0.0.1:{port}",
        "SIDESOCKET_CONTROL_LISTEN": f"127.0.0.1:{free_port()}",
        "SIDESOCKET_APP_URL": f"http://127.0.0.1:{app_port}",
        "SIDESOCKET_THREADS": "1",
        "SIDESOCKET_MESSAGE_RATE": "1000000/1s",
        "SIDESOCKET_CONNECT_RATE_PER_IP": "off",
        "SIDESOCKET_MAX_CONNECTIONS_PER_IP": "off",
        "SIDESOCKET_WEBHOOK_MAX_IN_FLIGHT": "256",
        "SIDESOCKET_MAX_MESSAGE_BYTES": "1MiB",
        "SIDESOCKET_MAX_PENDING_BYTES": "2MiB",
        "SIDESOCKET_MAX_SEND_BUFFER_BYTES": "2MiB",
        "SIDESOCKET_LOG_LEVEL": "warning",
    }
    for setting in settings:
        key, _, value = setting.partition("=")
        environment[key] = value
    return bench.start([binary], port, environment), port


def start_nginx(bench, upstreams, locations):
    """nginx with nchan and one worker; None when it is not installed."""
    listed = subprocess.run(["dpkg", "-L", "libnginx-mod-nchan"], capture_output=True, text=True).stdout
    module = next((line for line in listed.splitlines() if line.endswith(".so")), None)
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if module is None or nginx is None:
        return None
    port = free_port()
    folder = bench.folder / f"nginx-{port}"
    folder.mkdir()
    temporary = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(f"""
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_max_body_size 2m;
  subrequest_output_buffer_size 2m;
  client_body_buffer_size 1m;
{temporary}
{upstreams}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
{locations}
  }}
}}
""")
    return bench.start([nginx, "-c", config, "-e", folder / "nginx-error.log"], port), port


def start_nchan(bench, app_port):
    """What a client sends is posted to the app, and the answer published to it alone."""
    return start_nginx(bench, f"  upstream app {{ server 127.0.0.1:{app_port}; keepalive 256; }}", """
    location /ws {
      nchan_pubsub websocket;
      nchan_channel_id "$connection";
      nchan_publisher_upstream_request /event;
      nchan_message_buffer_length 5;
      nchan_message_timeout 5s;
    }
    location = /event {
      internal;
      proxy_pass http://app/ws;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
""")


def wait_until_idle(pid):
    """Lets the server finish what the last load left behind, so that it is not counted with the next."""
    last, since = cpu_seconds(pid), time.monotonic()
    while time.monotonic() - since < 0.3:
        time.sleep(0.05)
        used = cpu_seconds(pid)
        if used > last + 0.01:
            last, since = used, time.monotonic()


def print_table(rows, cost_name, columns):
    """The medians of what was measured of each server, a list of (round, cost, what the load said)."""
    print(f"{'server':12}{cost_name:>17}" + "".join(f"{column.replace('_', ' '):>9}" for column in columns)
          + f"{'ratio':>8}")
    ours = {number: cost for number, cost, _ in rows["sidesocket"]}
    for name, measured in rows.items():
        if not measured:
            continue
        middles = (statistics.median(said[column] for _, _, said in measured) for column in columns)
        ratios = [ours[number] / cost for number, cost, _ in measured if number in ours and cost]
        ratio = f"{statistics.median(ratios):8.2f}" if ratios else f"{'-':>8}"
        print(f"{name:12}{statistics.median(cost for _, cost, _ in measured):17.2f}"
              + "".join(f"{value:9.2f}" if value < 1000 else f"{value:9.0f}" for value in middles) + ratio)
    print("ratio: CPU of sidesocket divided by CPU of this server, in the same round")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=".build/release/sidesocket", help="the sidesocket to measure")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--size", type=int, default=64, help="bytes in a message")
    parser.add_argument("--seconds", type=float, default=3, help="length of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a setting for sidesocket")
    parser.add_argument("--versus", action="append", default=[], metavar="NAME=VALUE",
                        help="a setting for a second sidesocket in the same rounds")
    parser.add_argument("--protocol", action="store_true", help="clients of the client protocol too, in the same rounds")
    parser.add_argument("--versus-binary", help="another binary for the second sidesocket")
    arguments = parser.parse_args()
    if not os.access(arguments.binary, os.X_OK):
        sys.exit(f"bench: {arguments.binary} is not there; build it with: make release")

    bench = Bench(pathlib.Path(tempfile.mkdtemp(prefix="bridge-")))
    try:
        load, app, app_port = bench.build("load"), bench.build("app"), free_port()
        bench.start([app, app_port], app_port)
        servers = {"sidesocket": start_sidesocket(bench, arguments.binary, arguments.env, app_port)}
        if arguments.versus or arguments.versus_binary:
            servers["versus"] = start_sidesocket(
                bench, arguments.versus_binary or arguments.binary, arguments.versus, app_port
            )
        if arguments.protocol:
            servers["protocol"] = start_sidesocket(bench, arguments.binary, arguments.env, app_port)
        servers["nchan"] = start_nchan(bench, app_port)
        if servers["nchan"] is None:
            del servers["nchan"]
            print("nchan is not installed and is left out (Debian: scripts/setup.sh peers)")

        shape = [str(arguments.connections), str(arguments.size), str(arguments.seconds)]
        rows = {name: [] for name in servers}
        failed = False
        for number in range(-1, arguments.rounds):  # round -1 warms up and does not count
            for name, (pid, port) in servers.items():
                before = cpu_seconds(pid)
                speaks = ["protocol"] if name == "protocol" else []
                run = subprocess.run([load, str(port), "/ws", *shape, *speaks], capture_output=True, text=True, check=True)
                used, said = cpu_seconds(pid) - before, json.loads(run.stdout)
                if said["errors"] or not said["messages"]:
                    failed = True
                    print(f"round {number}: {name}: {said} {run.stderr.strip()}", file=sys.stderr)
                elif number >= 0:
                    rows[name].append((number, used / said["messages"] * 1e6, said))

        print(f"{arguments.connections} connections, {arguments.size}-byte messages, "
              f"{arguments.rounds} rounds of {arguments.seconds:g} s; medians")
        print_table(rows, "CPU µs/message", ("rate", "p50_ms", "p99_ms"))
        return 1 if failed else 0
    finally:
        bench.stop()
        shutil.rmtree(bench.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
