"""Logs: structured, one line per connection end, and no client can forge or flood them."""

import json

import pytest
from support.app import Reply
from support.net import eventually
from support.raw import encode
from support.ws import CLOSE, close_payload, handshake_headers


def ended(edge, count=1):
    """Waits until that many connection ends were logged at all (by any line that names the close code)."""
    return eventually(
        lambda: (lines := [e for e in edge.logs if "4321" in json.dumps(e)]) and len(lines) >= count and lines,
        lambda: f"a line about the end of the connection in:\n{edge.output}",
    )


def test_every_line_is_one_json_object_with_time_level_and_message(app, edge):
    edge.websocket().close()
    app.wait_events(1, "close")
    edge.terminate()
    assert edge.wait_exit() == 0
    assert edge.raw_lines
    for line in edge.raw_lines:
        entry = json.loads(line)
        assert entry["level"] in ("trace", "debug", "info", "notice", "warning", "error", "critical")
        assert entry["message"] and entry["time"].endswith("Z")


def test_one_line_per_connection_end_and_none_per_message(app, edge):
    app.echo()
    socket = edge.websocket()
    before = len(edge.raw_lines)
    for i in range(50):
        socket.text(str(i))
        socket.message()
    socket.barrier()
    assert len(edge.raw_lines) == before
    socket.close(4321, "bye")
    (line,) = ended(edge)
    assert "bye" in json.dumps(line)
    app.wait_events(1, "close")
    assert len([e for e in edge.logs if "4321" in json.dumps(e)]) == 1


def test_a_failure_of_the_app_is_logged_with_what_is_needed_to_find_it(app, edge):
    app.on(Reply(500), event="message")
    socket = edge.websocket()
    socket.text("x")
    socket.expect_close(1011)
    connection = app.wait_events(1, "close")[0].header("ce-connectionid")
    lines = eventually(lambda: [e for e in edge.logs if e["level"] in ("warning", "error")], "a warning")
    assert connection in json.dumps(lines) and "500" in json.dumps(lines)


def test_the_text_format(app, sidesocket):
    edge = sidesocket(app, LOG_FORMAT="text")
    edge.websocket().close(4321, "two words")
    eventually(lambda: "4321" in edge.output, "the end of the connection is logged")
    assert edge.logs == []


def test_log_level(app, sidesocket):
    edge = sidesocket(app, LOG_LEVEL="error")
    edge.websocket().close(4321)
    app.wait_events(1, "close")
    edge.wait_metric("connections", 0)
    assert "4321" not in edge.output


@pytest.mark.parametrize("form", ["json", "text"])
def test_case_41_a_close_reason_cannot_forge_a_line(app, sidesocket, form):
    edge = sidesocket(app, LOG_FORMAT=form)
    reason = 'a\r\n{"level":"error","message":"forged"}\x1b[31m\x00\u2028\u202e"b'
    socket = edge.websocket()
    socket.frame(CLOSE, close_payload(4321, reason))
    socket.expect_close(4321)
    eventually(lambda: "4321" in edge.output, "the end of the connection is logged")
    output = b"".join(edge.raw_lines)
    assert b"\x1b" not in output and b"\r" not in output and b"\x00" not in output
    assert len([line for line in edge.raw_lines if b"forged" in line]) <= 1
    assert not any(line.startswith(b'{"level":"error","message":"forged"') for line in edge.raw_lines)
    if form == "json":
        for line in edge.raw_lines:
            json.loads(line)
    assert json.loads(app.wait_events(1, "close")[0].body)["reason"] == reason


@pytest.mark.parametrize("form", ["json", "text"])
def test_case_41_long_and_wild_values_give_short_single_lines(app, sidesocket, form):
    edge = sidesocket(app, LOG_FORMAT=form, LOG_LEVEL="debug", MAX_HEADER_BYTES="1MiB")
    wild = [
        encode(target="/" + "p" * 900_000),
        encode(target="/a\x1b[31mb"),
        encode(target="/a\nb"),
        encode(headers=[("Origin", "http://" + "o" * 900_000)]),
        encode("GET", "/ws", handshake_headers(origin="x\x1b[31m")),
        encode("GET", "/ws/" + "w" * 30_000, handshake_headers(origin="http://" + "o" * 100_000)),
        encode("GET", "/ws", handshake_headers(key="k" * 100_000)),
        encode("X" * 100_000),
        encode(headers=[("ce-type", "sidesocket." + "t" * 100_000)]),
        encode(headers=[("X_Forwarded_" + "f" * 100_000, "1")]),
        b"\x1b[31m\r\n\r\n",
    ]
    for data in wild:
        with edge.client() as client:
            client.try_send(data)
            client.response()
    app.on(Reply(500, headers={"X-Long": "x" * 10_000}, reason="R" * 5000), event="open")
    edge.try_websocket().wait_closed()
    with edge.client() as client:
        client.ask(target="/last")
    for line in edge.raw_lines:
        assert len(line) < 8192, f"a line of {len(line)} bytes: {line[:200]}"
        assert b"\x1b" not in line
        if form == "json":
            json.loads(line)
