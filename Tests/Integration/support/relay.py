"""A relay between a node and its engine, which stalls, loses, delays and cuts what passes, also inside a frame."""

import socket
import threading
import time

from . import history
from .net import reset

TO_ENGINE, TO_NODE = "to the engine", "to the node"


class _Cut(Exception):
    """The link is to end here."""


class Link:
    """One connection through the relay: `near` is the node's side, `far` the engine's."""

    def __init__(self, near, far):
        self.near, self.far = near, far
        # What the engine says is read and thrown away.
        self.swallows = False
        self.passed = {TO_ENGINE: 0, TO_NODE: 0}

    def cut(self):
        for one in (self.near, self.far):
            # A thread may sit in recv on it: wake it first.
            try:
                one.shutdown(socket.SHUT_RD)
            except OSError:
                pass
            reset(one)


class EngineRelay(history.Relay):
    """As the relay before an app, it can hold, cut and refuse; it also knows which way bytes go.

    What was held or swallowed in one direction makes the two sides disagree, as a network that loses packets and an
    end that gives up do: the engine has done what the node does not know of.
    """

    def __init__(self, to_port):
        self.links = []
        self.delay = 0.0
        self.open = {TO_ENGINE: threading.Event(), TO_NODE: threading.Event()}
        self._swallowing = False
        self._traps = []
        for gate in self.open.values():
            gate.set()
        super().__init__(to_port)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    # Faults

    def hold_replies(self):
        """What the engine says is kept back until `flow_replies`; requests arrive."""
        self.open[TO_NODE].clear()

    def flow_replies(self):
        self.open[TO_NODE].set()

    def swallow_replies(self):
        """What the engine says is lost, on these connections for good and on new ones until `mend`; requests arrive."""
        self._swallowing = True
        for link in self._live():
            link.swallows = True

    def swallow_after(self, mark):
        """From the request on that contains these bytes, all that the engine says on that connection is lost."""

        def swallow(link):
            link.swallows = True

        return self._trap(TO_ENGINE, mark, len(mark), swallow)

    def cut_inside(self, mark, after=1, *, way=TO_NODE):
        """Resets the connection in which these bytes pass next, `after` bytes from the start of them."""
        return self._trap(way, mark, after, None)

    def refuse(self):
        """Resets every connection, and each new one at once."""
        self.refusing = True
        self.cut()

    def mend(self):
        """Everything passes again; connections on which something was swallowed are cut."""
        self.delay, self.refusing, self._swallowing = 0.0, False, False
        with self._lock:
            self._traps.clear()
        for link in self._live():
            if link.swallows:
                link.cut()
        for gate in self.open.values():
            gate.set()
        self.flow()

    def cut(self):
        # Whoever waits at a gate has to see that its connection is gone.
        for link in self._live():
            link.cut()
        super().cut()

    def stop(self):
        for gate in self.open.values():
            gate.set()
        super().stop()

    def _live(self):
        with self._lock:
            return list(self.links)

    def _trap(self, way, mark, after, action):
        """Calls `action` with the link in which `mark` passes next, or cuts it; returns an event that tells."""
        sprung = threading.Event()
        with self._lock:
            self._traps.append((way, mark, after, action, sprung))
        return sprung

    # Work

    def _serve(self, near):
        if self.refusing:
            reset(near)
            return
        try:
            far = socket.create_connection(("127.0.0.1", self.to_port), timeout=10)
        except OSError:
            reset(near)
            return
        far.settimeout(None)
        link = Link(near, far)
        link.swallows = self._swallowing
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self.links.append(link)
        back = threading.Thread(target=self._carry, args=(link, far, near, TO_NODE), daemon=True)
        back.start()
        self._carry(link, near, far, TO_ENGINE)
        back.join()
        with self._lock:
            self.links.remove(link)
        near.close()
        far.close()

    def _carry(self, link, source, target, way):
        tail = b""
        try:
            while data := source.recv(1 << 16):
                if self.delay:
                    time.sleep(self.delay)
                self.flowing.wait()
                self.open[way].wait()
                tail = self._pass(link, target, way, data, tail)
            self.flowing.wait()
            self.open[way].wait()
            target.shutdown(socket.SHUT_WR)
        except _Cut:
            link.cut()
        except OSError:
            for one in (source, target):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _pass(self, link, target, way, data, tail):
        """Forwards a piece; `tail` is the end of what passed before, in which a mark may begin."""
        trap, at = self._sprung(way, tail, data)
        if trap:
            _, _, _, action, sprung = trap
            sprung.set()
            if action is None:
                self._send(link, target, way, data[: max(0, at)])
                raise _Cut
            action(link)
        self._send(link, target, way, data)
        return (tail + data)[-256:]

    def _sprung(self, way, tail, data):
        """The trap that these bytes spring, and how many of them still pass."""
        with self._lock:
            for trap in self._traps:
                wanted, mark, after, _, _ = trap
                # Not in what was looked at before.
                begin = (tail + data).find(mark, max(0, len(tail) - len(mark) + 1))
                if wanted == way and begin >= 0:
                    self._traps.remove(trap)
                    return trap, begin - len(tail) + after
        return None, 0

    def _send(self, link, target, way, data):
        if way == TO_NODE and link.swallows:
            return
        link.passed[way] += len(data)
        target.sendall(data)


__all__ = ["TO_ENGINE", "TO_NODE", "EngineRelay", "Link"]
