"""A connection of a client that polls, which can be used like that of a ``ProtocolClient``."""

import collections
import contextlib
import http.client
import json
import time

from .polling import Post, PollClient
from .protocol import JSON


class Polled(PollClient):
    """Each POST goes in at any of the doors; one whose answer is lost is repeated, or the connection is given up.

    `old` is the connection that it comes back from.
    """

    encoding = JSON

    def __init__(self, doors, target, random, old=None, key=None):
        super().__init__(None, target)
        self.doors, self.random = doors, random
        self.sock, self.timeout = self, 10.0
        self._posts, self._arrived, self._leaving = collections.deque(), collections.deque(), []
        if old is not None:
            self.seq, self.positions = old.seq, dict(old.positions)
            self.token, session = old.welcome["resume"], old.welcome["session"]
            body = {"resume": self.token, "n": 1, "seq": self.seq, "channels": self.positions, "session": session}
        else:
            body = {"key": key, "n": 1}
        self.n = 1
        self._send(1, body)
        while self._posts and not self._arrived:
            self._take(10.0)
        self.answer = self._first
        if old is None and self.answer.status == 101:
            self.welcome = self.frame_()
            assert self.welcome["type"] == "$welcome", self.welcome

    def settimeout(self, seconds):
        self.timeout = seconds

    # Sending

    def give(self, **members):
        self._leaving.append({name.rstrip("_"): value for name, value in members.items()})

    def post(self, payload=None, id=None, type="post"):
        self.give(type=type, payload=payload, **({"id": id} if id is not None else {}))

    def _send(self, number, body):
        door = self.random.choice(self.doors())
        fields = {"Content-Type": "application/vnd.sidesocket.v1+json", "Accept": "application/json"}
        try:
            made = Post(door.port, self.target, body, fields)
        except OSError as error:
            made = error
        self._posts.append((number, body, made))

    # Receiving

    class _First:
        status = None

    _first = _First()

    def _take(self, timeout):
        """Takes the answer to the oldest POST, if it is there."""
        number, body, made = self._posts[0]
        if isinstance(made, Post):
            made.thread.join(timeout)
            if made.thread.is_alive():
                return
            error, answer = made.error, made.answer
        else:
            error, answer = made, None
        if error is not None:
            if self.random.random() < 0.3 or number == 1 or not isinstance(made, Post):
                raise EOFError(f"{error}")
            # The same again, at another door.
            self._posts.popleft()
            self._send(number, body)
            self._posts.rotate(1)
            return
        self._posts.popleft()
        if number == 1:
            self._first = self._First()
            self._first.status, self._first.text = (101 if answer.status == 200 else answer.status), answer.body
        elif answer.status not in (200, 204):
            raise EOFError(f"{answer.status} {answer.body!r}")
        if answer.frames:
            self._arrived.extend(answer.frames)

    def _go_on(self):
        """There is always a poll under way; what is to be sent goes with a newer one."""
        if self.token and (not self._posts or (self._leaving and len(self._posts) < 2)):
            self.n += 1
            send, self._leaving = self._leaving, []
            self._send(self.n, {"resume": self.token, "n": self.n, **({"send": send} if send else {})})

    def frame_(self):
        deadline = time.monotonic() + self.timeout
        while not self._arrived:
            self._go_on()
            if self._posts:
                self._take(min(0.02, max(0, deadline - time.monotonic())))
            if not self._arrived and time.monotonic() > deadline:
                raise TimeoutError
        return self.note(self._arrived.popleft())

    def note(self, frame):
        before = self.welcome
        super().note(frame)
        if before is not None and frame["type"] == "$welcome":
            self.welcome = before
        self.token = frame.get("resume", self.token)
        return frame

    # The end

    def reset(self):
        for _, _, made in self._posts:
            with contextlib.suppress(OSError, AttributeError, http.client.HTTPException):
                made.lose()
        self._posts.clear()

    def frame(self, *_):
        """Instead of a Close frame."""
        self.give(type="$close")

    def expect_close(self, skip_messages=True):
        while self.frame_()["type"] != "$bye":
            pass
