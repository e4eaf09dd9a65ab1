"""Logs: structured, one line per connection end, and no client can forge or flood them."""

import json
import socket

import pytest
from support.app import Reply
from support.net import eventually, free_port
from support.process import run
from support.raw import encode
from support.sse import EventStream
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


# What each line tells


def lines(edge, message):
    return [entry for entry in edge.logs if entry["message"] == message]


def wait_lines(edge, message, count=1):
    return eventually(
        lambda: len(found := lines(edge, message)) >= count and found,
        lambda: f"{count} times {message!r} in:\n{edge.output}",
    )


def test_the_end_of_a_connection_tells_where_it_was_and_numbers_are_numbers(app, sidesocket):
    edge = sidesocket(app, SSE_PATHS="/events")
    client = edge.websocket("/ws/chat?token=s3cret")
    client.close(4321, "bye")
    (line,) = wait_lines(edge, "connection closed")
    assert line["path"] == "/ws/chat" and "s3cret" not in edge.output
    assert (line["code"], line["messages_in"], line["messages_out"]) == (4321, 0, 0)
    assert isinstance(line["duration_ms"], int)
    assert (line["initiator"], line["cause"], line["transport"]) == ("client", "client", "websocket")
    EventStream(edge.port).close()
    line = wait_lines(edge, "connection closed", 2)[1]
    assert (line["path"], line["transport"], line["cause"]) == ("/events", "event_stream", "connection_lost")


def test_at_debug_each_event_is_a_line_without_its_body(app, sidesocket):
    edge = sidesocket(app, LOG_LEVEL="debug", WEBHOOK_RETRY_FOR="10s")
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "room"}), event="open")
    answers = [Reply(503), Reply(200, "s3cret answer", {"Content-Type": "text/plain", "Sidesocket-Publish": "room"})]
    app.on(lambda request: answers.pop(0), event="message")
    client = edge.websocket("/ws/chat?x=1")
    client.text("s3cret message")
    assert client.message() == "s3cret answer"
    client.close()
    found = wait_lines(edge, "event", 4)
    assert [line["event"] for line in found] == ["open", "message", "message", "close"]
    assert [line["attempt"] for line in found] == [1, 1, 2, 1]
    assert [line["status"] for line in found] == [204, 503, 200, 204]
    assert [line["sent"] for line in found] == [0, 0, 1, 0] and [line["published"] for line in found] == [0, 0, 1, 0]
    for line in found:
        assert line["level"] == "debug" and line["path"] == "/ws/chat" and 0 <= line["duration_ms"] < 5000
        assert line["connection"] and line["client"] == "127.0.0.1"
    assert "s3cret" not in edge.output


def test_events_of_channels_are_lines_too_and_failed_attempts_say_why(app, sidesocket):
    edge = sidesocket(app, LOG_LEVEL="debug", CHANNEL_EVENTS="on", WEBHOOK_TIMEOUT="300ms", WEBHOOK_RETRY_FOR="off")
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "room"}), event="open")
    app.on(Reply(raw=b""), event="message")
    client = edge.websocket()
    client.text("x")
    client.expect_close(1013)
    found = wait_lines(edge, "event", 3)
    (message,) = [line for line in found if line["event"] == "message"]
    assert "status" not in message and message["why"] == "The app did not answer in time."
    assert message["duration_ms"] >= 290


def test_a_refused_open_is_a_line_with_status_and_path(app, edge):
    app.on(Reply(403, "no"), event="open")
    edge.try_websocket("/ws/room?token=s3cret").wait_closed()
    (line,) = wait_lines(edge, "the app refused a connection")
    assert (line["level"], line["status"], line["path"], line["client"]) == ("info", 403, "/ws/room", "127.0.0.1")
    with edge.client() as client:
        client.send(encode("GET", "/ws/x?token=s3cret", handshake_headers(key="short")))
        assert client.response().status == 400
    (line,) = wait_lines(edge, "handshake refused")
    assert (line["level"], line["status"], line["path"]) == ("info", 400, "/ws/x")
    assert "s3cret" not in edge.output


def test_the_access_log_has_a_line_for_each_request_that_is_passed_through(app, sidesocket):
    edge = sidesocket(app, ACCESS_LOG="on")
    app.on(Reply(201, "created", {"Content-Type": "text/plain"}), path="/things")
    with edge.client() as client:
        client.ask("POST", "/things?token=s3cret", body=b"s3cret")
    edge.websocket().close()
    (line,) = wait_lines(edge, "request")
    assert (line["method"], line["path"], line["status"], line["bytes"]) == ("POST", "/things", 201, 7)
    assert line["client"] == "127.0.0.1" and 0 <= line["duration_ms"] < 5000
    assert "s3cret" not in edge.output
    app.wait_events(1, "close")
    assert len(lines(edge, "request")) == 1


def test_there_is_no_access_log_unless_asked_for(app, edge):
    with edge.client() as client:
        client.ask(target="/page")
    edge.wait_metric("proxy_requests_total", 1)
    assert lines(edge, "request") == []


def test_addresses_are_written_as_people_do(app, sidesocket, tmp_path):
    port = free_port()
    edge = sidesocket(app, LISTEN=f"127.0.0.1:{port},[::1]:{port},unix:{tmp_path}/s", wait=False)
    found = {line["address"] for line in wait_lines(edge, "listening", 3)}
    assert found == {f"127.0.0.1:{port}", f"[::1]:{port}", f"unix:{tmp_path}/s"}


INTERNALS = (
    "bind(",
    "CancellationError",
    "failedTo",
    "IPv4",
    "NIO",
    "descriptor:",
    "errno",
    "BoringSSL",
    "Optional",
    "sl-",
)


def plain(text):
    assert not [word for word in INTERNALS if word in text], text


@pytest.mark.parametrize("which", ["LISTEN", "CONTROL_LISTEN"])
def test_an_address_that_is_taken_is_a_sentence_with_the_address(app, which):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = {"LISTEN": f"127.0.0.1:{free_port()}", "CONTROL_LISTEN": f"127.0.0.1:{free_port()}"}
        done = run(APP_URL=app.url, **{**settings, which: f"127.0.0.1:{port}"})
    assert done.returncode != 0
    assert (
        f"cannot listen on 127.0.0.1:{port} (SIDESOCKET_{which}): address already in use" in done.stdout + done.stderr
    )
    plain(done.stdout + done.stderr)


@pytest.mark.parametrize("which", ["LISTEN", "CONTROL_LISTEN"])
def test_a_socket_that_cannot_be_made_is_a_sentence_with_its_path(app, tmp_path, which):
    file = tmp_path / "file"
    file.touch()
    settings = {"LISTEN": f"127.0.0.1:{free_port()}", "CONTROL_LISTEN": f"127.0.0.1:{free_port()}"}
    done = run(APP_URL=app.url, LOG_LEVEL="debug", **{**settings, which: f"unix:{file}"})
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"cannot listen on unix:{file} (SIDESOCKET_{which}): a file that is not a socket is there" in said
    plain(said)


def test_files_that_cannot_be_used_are_sentences(app, certificate, tmp_path):
    _, (cert, key) = certificate
    wrong = tmp_path / "no.pem"
    wrong.write_text("nothing")
    for settings, why in [
        ({"TLS_CERT": str(tmp_path / "missing"), "TLS_KEY": key}, "no such file or directory"),
        ({"TLS_CERT": str(wrong), "TLS_KEY": key}, "it holds no certificate"),
        ({"TLS_CERT": cert, "TLS_KEY": str(wrong)}, "it holds no private key"),
    ]:
        done = run("check", APP_URL=app.url, **settings)
        assert done.returncode == 78 and why in done.stdout + done.stderr
        plain(done.stdout + done.stderr)


def test_an_app_that_cannot_be_reached_is_a_sentence(sidesocket):
    edge = sidesocket(APP_URL=f"http://127.0.0.1:{free_port()}", WEBHOOK_RETRY_FOR="off")
    edge.try_websocket().wait_closed()
    (line,) = wait_lines(edge, "delivery failed")
    assert line["why"] == "No connection to the app: connection refused."
    with edge.client() as client:
        client.ask(target="/page")
    assert wait_lines(edge, "no usable response from the app")[0]["why"] == line["why"]
    plain(edge.output)


def test_a_request_that_the_app_fails_is_logged_without_its_query(sidesocket):
    edge = sidesocket(APP_URL=f"http://127.0.0.1:{free_port()}")
    with edge.client() as client:
        client.ask(target="/page?token=s3cret")
    assert wait_lines(edge, "no usable response from the app")[0]["path"] == "/page"
    assert "s3cret" not in edge.output


def test_requests_that_the_app_fails_do_not_fill_the_disk(sidesocket):
    edge = sidesocket(APP_URL=f"http://127.0.0.1:{free_port()}", THREADS="1")
    for _ in range(130):
        with edge.client() as client:
            client.ask(target="/page")
    assert len(wait_lines(edge, "no usable response from the app", 100)) == 100
