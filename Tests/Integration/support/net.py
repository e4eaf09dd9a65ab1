"""Small things about sockets and waiting that every other helper needs."""

import itertools
import os
import socket
import struct
import time

# Long enough for a debug build on a busy machine, short enough to notice a hang.
PATIENCE = 10.0


# Ports below those that Linux gives to outgoing connections, so that none of them is in the way; each worker of
# pytest-xdist has its own, and runs that go on at the same time most likely begin at different ones.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 20
_FIRST, _COUNT = 12_000 + 1_000 * _WORKER, 1_000
_next = itertools.count(os.getpid() * 37)


def free_port() -> int:
    """Returns a TCP port on 127.0.0.1 that nothing listens on right now and that no recent call returned."""
    while True:
        port = _FIRST + next(_next) % _COUNT
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                # Which fails if somebody listens, on whatever address.
                probe.bind(("0.0.0.0", port))
                return port
            except OSError:
                continue


def listens(port) -> bool:
    """True when something accepts connections on 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def eventually(condition, message="the condition", timeout=PATIENCE, interval=0.005):
    """Polls `condition` until it is truthy and returns its value; fails the test after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{message() if callable(message) else message}: still not so after {timeout} s")
        time.sleep(interval)


def stable(read, quiet=0.4, timeout=30.0):
    """Polls the number `read()` until it has not changed for `quiet` seconds and returns it."""
    deadline = time.monotonic() + timeout
    last, since = read(), time.monotonic()
    while time.monotonic() - since < quiet:
        if time.monotonic() > deadline:
            raise AssertionError(f"the value still moves after {timeout} s: {last}")
        time.sleep(0.02)
        value = read()
        if value != last:
            last, since = value, time.monotonic()
    return last


def reset(sock: socket.socket) -> None:
    """Closes `sock` with an RST instead of a FIN, as a vanished peer does."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()


def send_until_blocked(sock: socket.socket, data: bytes, quiet=0.5, limit=1 << 62) -> int:
    """Sends `data` over and over without reading; returns the bytes taken when the peer stops taking any.

    The peer counts as blocked when the socket is not writable for `quiet` seconds.
    """
    import select

    sent = 0
    view = memoryview(data)
    offset = 0
    sock.setblocking(False)
    try:
        while sent < limit:
            _, writable, _ = select.select([], [sock], [], quiet)
            if not writable:
                break
            try:
                count = sock.send(view[offset:])
            except BlockingIOError:
                continue
            except OSError:
                break
            sent += count
            offset = (offset + count) % len(data)
    finally:
        sock.setblocking(True)
        sock.settimeout(PATIENCE)
    return sent
