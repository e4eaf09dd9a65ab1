#!/usr/bin/env python3
"""Runs the Autobahn cases (through kosoku) against sidesocket and prints a table.

  run.py                                   groups 1-7, 9, 10, 12 and 13 against .build/debug/sidesocket
  run.py --binary .build/release/sidesocket
  run.py --cases 6.* 7.1.*                 some of them
  run.py --url ws://127.0.0.1:9001         another server, as it runs

Exits with 1 if a case fails that ALLOWED does not explain.
"""

import argparse
import asyncio
import collections
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from kosoku import FailureError, run_fuzzingclient

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Integration"))

from support.net import free_port  # noqa: E402 - the integration tests' helpers lie beside this folder
GROUPS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*", "12.*", "13.*"]

# Case id → why failing it is right, with the section of RFC 6455. Nothing so far.
ALLOWED: dict[str, str] = {}

# Group 9 sends messages of 16 MiB, in as many as 65,536 fragments of one message, and wants them back.
SETTINGS = {
    "MAX_MESSAGE_BYTES": "32MiB",
    "MAX_PENDING_BYTES": "64MiB",
    "MAX_TOTAL_PENDING_BYTES": "1024MiB",
    "MAX_REPLY_BYTES": "32MiB",
    "MAX_SEND_BUFFER_BYTES": "64MiB",
    "MAX_FRAGMENTS": "1000000",
    "CONNECT_RATE_PER_IP": "off",
    "MAX_CONNECTIONS_PER_IP": "off",
    "MESSAGE_RATE": "off",
    "CONTROL_RATE": "off",
    "MAX_COMPRESSION_RATIO": "off",
    # Groups 12 and 13 want the messages back compressed: kosoku 0.1.0 fails by itself on a text that comes plain.
    "COMPRESSION_MIN_BYTES": "0",
    "MESSAGE_ASSEMBLY_TIMEOUT": "5m",
    "WEBHOOK_TIMEOUT": "2m",
    "LOG_LEVEL": "warning",
}


class EchoApp(threading.Thread):
    """The app: answers each message with itself. Blocking sockets, since a body of 16 MiB must pass quickly."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            rest = b""
            while True:
                while (end := rest.find(b"\r\n\r\n")) < 0:
                    part = connection.recv(65536)
                    if not part:
                        return
                    rest += part
                head, rest = rest[: end + 2].lower(), rest[end + 4 :]
                length = int(head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
                body = bytearray(length)
                have = min(len(rest), length)
                body[:have], rest = rest[:have], rest[have:]
                view = memoryview(body)
                while have < length:
                    count = connection.recv_into(view[have:])
                    if not count:
                        return
                    have += count
                self.answer(connection, head, view)
        except OSError:
            pass
        finally:
            connection.close()

    def answer(self, connection, head, body):
        if b"\r\nce-type: sidesocket.message\r\n" not in head:
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        text = b"\r\ncontent-type: text/plain" in head
        kind = b"text/plain; charset=utf-8" if text else b"application/octet-stream"
        if not body:
            # An empty body sends nothing, so an empty message takes a command.
            kind = b"application/vnd.sidesocket+json"
            body = b'[{"send":{"text":""}}]' if text else b'[{"send":{"base64":""}}]'
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
        if len(body) < 65536:
            connection.sendall(answer + body)
        else:
            connection.sendall(answer)
            connection.sendall(body)


def start(binary, app_port, log):
    """Starts sidesocket before the app and returns the process and the public port."""
    port, control = free_port(), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("SIDESOCKET_")}
    chosen = {
        **SETTINGS,
        "LISTEN": f"127.0.0.1:{port}",
        "CONTROL_LISTEN": f"127.0.0.1:{control}",
        "APP_URL": f"http://127.0.0.1:{app_port}",
    }
    env.update({f"SIDESOCKET_{name}": value for name, value in chosen.items()})
    process = subprocess.Popen([binary], env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{control}/readyz", timeout=2):
                return process, port
        except OSError:
            time.sleep(0.02)
    process.kill()
    log.seek(0)
    sys.exit("sidesocket did not become ready:\n" + log.read())


async def run_cases(url, cases, parallel):
    try:
        return await run_fuzzingclient(url, cases, None, concurrency=parallel)
    except FailureError as failure:
        return failure.results


def verdict(result):
    """The worse of the two verdicts, as Autobahn words it."""
    behavior, close = result.behavior.value, result.behavior_close.value
    return (
        behavior
        if behavior not in ("OK", "NON-STRICT", "INFORMATIONAL") or close in ("OK", "INFORMATIONAL")
        else f"close {close}"
    )


def report(results):
    """Prints the table and returns the ids of the failed cases that nothing explains."""
    groups = collections.defaultdict(list)
    for result in results:
        groups[int(result.case_id.split(".")[0])].append(result)
    print(
        f"\n{'group':>5} {'cases':>6} {'ok':>6} {'non-strict':>11} {'informational':>14} {'failed':>7} {'seconds':>8}"
    )
    unexplained = []
    for group in sorted(groups):
        rows = groups[group]
        labels = collections.Counter(r.behavior.value for r in rows if r.passed)
        failed = [r for r in rows if not r.passed]
        seconds = sum(r.duration for r in rows) / 1000
        print(
            f"{group:>5} {len(rows):>6} {labels['OK']:>6} {labels['NON-STRICT']:>11} {labels['INFORMATIONAL']:>14}"
            f" {len(failed):>7} {seconds:>8.1f}"
        )
        unexplained += [r.case_id for r in failed if r.case_id not in ALLOWED]
    for result in results:
        if not result.passed:
            print(f"\n{result.case_id}  {verdict(result)}  {ALLOWED.get(result.case_id, 'not explained')}")
            print(f"  {(result.description.splitlines() or [''])[0][:150]}")
            print(f"  {result.result}")
            print(f"  {result.result_close}")
        elif result.behavior.value == "NON-STRICT":
            print(f"\n{result.case_id}  NON-STRICT  {result.result}")
    passed = sum(r.passed for r in results)
    print(f"\n{passed} of {len(results)} cases passed, {len(unexplained)} failures unexplained")
    return unexplained


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--binary", default=os.environ.get("SIDESOCKET_BINARY") or str(ROOT / ".build/debug/sidesocket")
    )
    parser.add_argument("--cases", nargs="+", default=GROUPS, metavar="GLOB")
    parser.add_argument("--parallel", type=int, default=4, help="cases at once (4)")
    parser.add_argument("--url", help="test this server instead of starting sidesocket")
    arguments = parser.parse_args()
    # The long tests of group 9 measure time: they get the machine for themselves.
    slow = [case for case in arguments.cases if case.startswith("9")]
    quick = [case for case in arguments.cases if not case.startswith("9")]

    app = EchoApp()
    app.start()
    process, url, died = None, arguments.url, False
    with tempfile.TemporaryFile("w+") as log:
        try:
            if not url:
                process, port = start(arguments.binary, app.port, log)
                url = f"ws://127.0.0.1:{port}"
            results = []
            for cases, parallel in ((quick, arguments.parallel), (slow, 1)):
                if cases:
                    print(f"running {' '.join(cases)} against {url}", flush=True)
                    results += asyncio.run(run_cases(url, cases, parallel))
        finally:
            if process:
                died = process.poll() is not None
                if not died:
                    process.send_signal(signal.SIGTERM)
                    try:
                        process.wait(10)
                    except subprocess.TimeoutExpired:
                        process.kill()
                log.seek(0)
                said = log.read()
    unexplained = report(results)
    if died:
        print(f"\nsidesocket died with {process.returncode}:\n{said[-4000:]}")
    if not results:
        print("no case ran")
    sys.exit(1 if unexplained or died or not results else 0)


if __name__ == "__main__":
    main()
