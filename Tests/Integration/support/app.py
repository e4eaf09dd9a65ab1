"""A scriptable HTTP/1.1 app on plain sockets that records every request byte by byte.

It is strict on purpose: a request that a lenient server would accept but that breaks RFC 9112 is noted in
`App.faults`, and the fixture fails the test for it.
"""

import re
import socket
import ssl
import threading

from .app_http import Connection, Gone, Reply, Request
from .net import PATIENCE, eventually, free_port, reset

_REQUEST_LINE = re.compile(rb"^[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^\x00-\x20\x7f]+ HTTP/1\.1$")
_HEADER = re.compile(rb"^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[^\x00-\x08\x0a-\x1f\x7f]*$")


class App:
    """The app behind the proxy: answers from a script and records what it was asked."""

    def __init__(self, unix=None, tls=None, backlog=1024, accepting=True):
        """With `accepting` false, connections wait in the backlog until `start_accepting`."""
        self.unix = unix
        self.tls = tls
        self.backlog = backlog
        self.lock = threading.Condition()
        self.heads = []
        self.requests = []
        self.faults = []
        self.connections = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._in_flight_by_connection = {}
        self._rules = []
        self._listener = None
        self._port = None
        self.listen(accepting)

    # Life

    def listen(self, accepting=True):
        if self.unix:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(self.unix)
        else:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # A port that no connection of others takes while the app is away.
            listener.bind(("127.0.0.1", self._port or free_port()))
            self._port = listener.getsockname()[1]
        listener.listen(self.backlog)
        self._listener = listener
        if accepting:
            self.start_accepting()

    def start_accepting(self):
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop_listening(self, drop=True):
        """Refuses new connections and, with `drop`, closes those that are open."""
        listener, self._listener = self._listener, None
        if listener:
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()
        if drop:
            self.drop_connections()

    def drop_connections(self):
        for connection in list(self.connections):
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.stop_listening()
        for connection in list(self.connections):
            reset(connection.sock)

    @property
    def port(self):
        return self._port

    @property
    def url(self):
        if self.unix:
            return f"unix:{self.unix}"
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def open_connections(self):
        return [c for c in self.connections if not c.closed.is_set()]

    # Script

    def on(self, reply=None, *, path=None, event=None, method=None, times=None, stream=None):
        """Answers matching requests; the newest rule wins, one with `times` serves that many requests.

        `reply` is a Reply or a function of the Request that returns one. `stream` is a function of the
        Connection and the Request, called as soon as the head is there, that reads and answers by itself.
        """
        with self.lock:
            self._rules.insert(0, [reply, stream, path, event, method, times])

    def echo(self):
        """Answers each message with itself, of the same type."""
        self.on(echo, event="message")

    def reset_script(self):
        with self.lock:
            self._rules.clear()
            self.heads.clear()
            self.requests.clear()
            self.most_in_flight = self.in_flight

    # Record

    def events(self, event=None, connection_id=None):
        with self.lock:
            return [
                r
                for r in self.requests
                if r.event
                and (event is None or r.event == event)
                and (connection_id is None or r.header("ce-connectionid") == connection_id)
            ]

    def wait_events(self, count, event=None, timeout=PATIENCE):
        """Waits until at least `count` such events were recorded and returns them."""
        return eventually(
            lambda: (found := self.events(event)) and len(found) >= count and found or None,
            lambda: f"{count} {event or ''} events wanted, recorded {[(r.event, r.body[:40]) for r in self.events()]}",
            timeout,
        )

    def plain(self):
        """The recorded requests that are no events."""
        with self.lock:
            return [r for r in self.requests if not r.event]

    def wait_head(self, path, timeout=PATIENCE):
        """Waits for the head of a request to `path`; its body may still be on the way."""
        return eventually(
            lambda: next((r for r in list(self.heads) if r.path == path), None), f"a request for {path}", timeout
        )

    # Work

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                connection = Connection(self, sock, len(self.connections))
                self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.sock.settimeout(60)
            if connection.sock.family == socket.AF_INET:
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*self.tls)
                connection.sock = context.wrap_socket(connection.sock, server_side=True)
            while self._serve_one(connection):
                pass
        except (Gone, OSError):
            connection.note("error")
        finally:
            connection.note("app")
            try:
                connection.sock.close()
            except OSError:
                pass

    def _serve_one(self, connection):
        head = connection.read_head()
        connection.requests += 1
        request = self._parse(head, connection)
        rule = self._match(request)
        with self.lock:
            self.heads.append(request)
        if rule and rule[1]:
            try:
                if rule[1](connection, request) == "close":
                    return False
            finally:
                with self.lock:
                    self.requests.append(request)
            return True
        self._enter(request)
        try:
            request.body = b"".join(connection.body(request))
            with self.lock:
                self.requests.append(request)
            reply = rule[0] if rule else self._default(request)
            if callable(reply):
                reply = reply(request)
            if reply.gate:
                reply.gate.wait(55)
        finally:
            # Before the answer leaves: after it, the next request may already be here.
            self._leave(request)
        data = reply.encode(request.method)
        if reply.drip is not None:
            for i in range(len(data)):
                connection.send(data[i : i + 1])
                if connection.closed.wait(reply.drip):
                    raise Gone
        elif data:
            connection.send(data)
        if reply.reset:
            reset(connection.sock)
            connection.note("app")
            return False
        return not reply.close

    def _enter(self, request):
        if not request.event:
            return
        with self.lock:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            key = request.header("ce-connectionid")
            running = self._in_flight_by_connection.get(key, 0) + 1
            self._in_flight_by_connection[key] = running
            # Events of channels have no connection.
            if key and running > 1 and request.connection.app.one_at_a_time:
                self.faults.append(f"two events of connection {key} at once")

    one_at_a_time = True

    def _leave(self, request):
        if not request.event:
            return
        with self.lock:
            self.in_flight -= 1
            self._in_flight_by_connection[request.header("ce-connectionid")] -= 1

    def _match(self, request):
        with self.lock:
            for rule in self._rules:
                _, _, path, event, method, times = rule
                if path is not None and path != request.path:
                    continue
                if event is not None and event != request.event:
                    continue
                if method is not None and method != request.method:
                    continue
                if times is not None:
                    if times == 0:
                        continue
                    rule[5] -= 1
                return rule
        return None

    @staticmethod
    def _default(request):
        return Reply(204) if request.event else Reply(200, "from the app", {"Content-Type": "text/plain"})

    def _parse(self, head, connection):
        lines = head[:-4].split(b"\r\n")
        if not _REQUEST_LINE.match(lines[0]):
            self.faults.append(f"request line {lines[0][:200]!r}")
        method, target, *_ = lines[0].decode("latin-1").split(" ") + ["", ""]
        headers = []
        for line in lines[1:]:
            if not _HEADER.match(line):
                self.faults.append(f"header line {line[:200]!r}")
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name, value.strip(" \t")))
        request = Request(method, target, headers, head, connection, connection.requests)
        if len(request.all("host")) != 1:
            self.faults.append(f"{len(request.all('host'))} Host headers")
        lengths, codings = request.all("content-length"), request.all("transfer-encoding")
        if len(lengths) > 1 or (lengths and codings) or any(not v.isdigit() for v in lengths):
            self.faults.append(f"framing {lengths} {codings}")
        if codings and codings != ["chunked"]:
            self.faults.append(f"transfer codings {codings}")
        return request


def echo(request):
    """The answer that sends a message back; an empty one needs a command, since an empty body sends nothing."""
    kind = request.header("content-type")
    if request.body:
        return Reply(200, request.body, {"Content-Type": kind})
    command = '[{"send":{"text":""}}]' if kind.startswith("text/") else '[{"send":{"base64":""}}]'
    return Reply(200, command, {"Content-Type": "application/vnd.sidesocket+json"})


def commands(*items, **more):
    """A reply that is a list of commands."""
    import json

    return Reply(200, json.dumps(items), {"Content-Type": "application/vnd.sidesocket+json"}, **more)


def gate():
    """An event for `Reply.gate`; the fixture opens what a test leaves closed."""
    event = threading.Event()
    _gates.append(event)
    return event


_gates = []


def open_gates():
    while _gates:
        _gates.pop().set()


__all__ = ["App", "Connection", "Gone", "Reply", "Request", "commands", "echo", "gate", "open_gates"]
