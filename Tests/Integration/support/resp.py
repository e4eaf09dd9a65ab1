"""A tiny client of Redis: commands on one connection, replies as Python values."""

import socket
import ssl

from .net import PATIENCE


class RedisError(Exception):
    """An error that Redis answered; `code` is its first word."""

    @property
    def code(self):
        return str(self).split(" ")[0]


class Redis:
    """One connection to Redis; replies are int, str, None, lists of these, or bytes where they are no UTF-8."""

    def __init__(self, port, *, user=None, password=None, tls=None, timeout=PATIENCE):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="127.0.0.1")
        self.buffer = bytearray()
        if password is not None:
            self.command("AUTH", *([user] if user else []), password)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def command(self, *words):
        """Sends a command and returns its reply; an error of Redis is raised."""
        self.send(words)
        reply = self.reply()
        if isinstance(reply, RedisError):
            raise reply
        return reply

    def pipeline(self, commands):
        """The replies to many commands, which are all sent before the first reply is read; errors are among them."""
        commands = list(commands)
        self.send(*commands)
        return [self.reply() for _ in commands]

    def send(self, *commands):
        self.sock.sendall(b"".join(encode(command) for command in commands))

    def reply(self):
        """The next reply, or message of a subscription; an error of Redis is returned, not raised."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RedisError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else _text(self._exactly(int(rest) + 2)[:-2])
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        raise AssertionError(f"a reply of an unknown kind: {line[:100]!r}")

    def _line(self):
        while (end := self.buffer.find(b"\r\n")) < 0:
            self._fill()
        return self._take(end + 2)[:-2]

    def _exactly(self, count):
        while len(self.buffer) < count:
            self._fill()
        return self._take(count)

    def _take(self, count):
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def _fill(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise EOFError("Redis closed the connection")
        self.buffer += data


def encode(words):
    """A command as bytes."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def pairs(reply):
    """A flat list of names and values as a dict."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


def info(text):
    """What `INFO` answers as a dict."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def trusting(ca):
    """A context of TLS that trusts this CA, for the address 127.0.0.1."""
    return ssl.create_default_context(cafile=ca)


def _text(data):
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


__all__ = ["Redis", "RedisError", "encode", "info", "pairs", "trusting"]
