"""Metrics tell apart what has to be told apart, and every series is there before anything happens."""

import time

import pytest
from support.api import API
from support.app import Reply, gate
from support.net import eventually
from support.sse import EventStream
from support.ws import CLOSE, close_payload

TEXT = {"Content-Type": "text/plain"}


def series(edge):
    """All series but those of the process and the node's build."""
    return {series for series in edge.metrics() if series[0].startswith("sidesocket_")}


@pytest.fixture
def edge(app, sidesocket):
    return sidesocket(app, SSE_PATHS="/events", MAX_CONNECTIONS=50, WEBHOOK_MAX_IN_FLIGHT=7, HISTORY_SIZE=10)


def test_every_series_is_at_zero_from_the_start(edge):
    found = edge.metrics()
    for name, labels in [
        ("limited_total", {"limit": "message_rate", "action": "throttled"}),
        ("limited_total", {"limit": "max_connections", "action": "refused"}),
        ("limited_total", {"limit": "control_rate", "action": "dry_run"}),
        ("handshakes_total", {"result": "app_refused"}),
        ("slow_client_total", {"action": "latest"}),
        ("messages_dropped_total", {"reason": "app_failed"}),
        ("http_refused_total", {"reason": "forged_event"}),
        ("webhook_requests_total", {"event": "close", "outcome": "timeout"}),
        ("webhook_retries_total", {"event": "message"}),
        ("proxy_requests_total", {"code_class": "5xx"}),
        ("broadcasts_total", {"result": "published"}),
        ("connections", {"transport": "event_stream"}),
        ("connections_opened_total", {"transport": "websocket"}),
        ("connections_closed_total",
         {"code": "1008", "initiator": "server", "reason": "slow_client", "transport": "event_stream"}),
        ("message_duration_seconds_count", {}),
    ]:  # fmt: skip
        assert found[f"sidesocket_{name}", frozenset(labels.items())] == 0, (name, labels)
    assert edge.metric("max_connections") == 50
    assert edge.metric("webhook_max_in_flight") == 7
    assert edge.metric("max_total_pending_bytes") == 256 << 20


def test_what_happens_makes_no_new_series(app, edge):
    before = series(edge)
    app.on(
        lambda r: Reply(403) if "no" in r.target else Reply(204, headers={"Sidesocket-Subscribe": "c"}), event="open"
    )
    app.on(lambda r: Reply({"bad": 400, "fail": 500}.get(r.body.decode(), 204)), event="message")
    ways = {
        "bad": ("1008", "app_refused"), "fail": ("1011", "app_failed"),
    }  # fmt: skip
    for text, (code, _) in ways.items():
        socket = edge.websocket()
        socket.text(text)
        socket.expect_close(int(code))
    with edge.websocket() as socket:
        socket.frame(CLOSE, close_payload(4321, "x"))
        socket.expect_close(4321)
    broken = edge.websocket()
    broken.send(b"\xff\xff\xff\xff\xff\xff")
    broken.expect_close(1002)
    edge.websocket().sock.close()
    with edge.try_websocket("/ws/no") as refused:
        assert refused.answer.status == 403
    stream = EventStream(edge.port)
    API(edge).want(200, "POST", "/v1/channels/c/messages", "x", TEXT)
    stream.close()
    edge.client().ask(target="/page")
    edge.client().ask(headers=[("ce-type", "sidesocket.message")])
    edge.wait_metric("connections", 0)
    edge.wait_metric("connections_closed_total", 6)
    assert series(edge) == before
    for code, reason in ways.values():
        assert edge.metric("connections_closed_total", code=code, reason=reason, transport="websocket") == 1
    assert edge.metric("connections_closed_total", code="other", reason="client") == 1
    assert edge.metric("connections_closed_total", code="1002", reason="protocol_error") == 1
    assert edge.metric("connections_closed_total", code="1006", reason="connection_lost", transport="websocket") == 1
    assert edge.metric("connections_closed_total", code="1006", reason="connection_lost", transport="event_stream") == 1


def test_streams_and_websockets_are_told_apart(app, edge):
    stream, socket = EventStream(edge.port), edge.websocket()
    assert (
        edge.metric("connections", transport="event_stream") == edge.metric("connections", transport="websocket") == 1
    )
    assert edge.metric("connections_opened_total", transport="event_stream") == 1
    stream.close()
    edge.wait_metric("connections", 0, transport="event_stream")
    edge.wait_metric("connections", 1, transport="websocket")
    assert edge.metric("connections_closed_total", transport="event_stream") == 1
    del socket


def test_causes_with_one_code_are_told_apart(app, sidesocket):
    edge = sidesocket(app, SSE_PATHS="/events", MAX_CONNECTION_AGE="1s", PING_INTERVAL="200ms", PONG_TIMEOUT="200ms")
    reasons = "connections_closed_total"
    kicked = edge.websocket()
    one = app.wait_events(1, "open")[0].header("ce-connectionid")
    API(edge).want(204, "DELETE", f"/v1/connections/{one}")
    kicked.expect_close(1008)
    assert edge.metric(reasons, code="1008", reason="kick") == 1
    silent = edge.websocket()  # it answers no ping
    edge.wait_metric(reasons, 1, code="1001", reason="pong_timeout")
    old = EventStream(edge.port)
    edge.wait_metric(reasons, 1, code="1001", reason="max_age", transport="event_stream")
    app.on(Reply(204, headers={"Sidesocket-Close": "1012 not a drain"}), event="message")
    closed = edge.websocket()
    closed.text("x")
    edge.wait_metric(reasons, 1, code="1012", reason="app_closed")
    del silent, old


def test_a_message_is_measured_from_its_frame_to_its_answer(app, edge):
    def slow(request):
        time.sleep(0.3)
        return Reply(200, "done", TEXT)

    app.on(slow, event="message")
    socket = edge.websocket()
    for text in ("a", "b"):
        socket.text(text)
    assert [socket.message(), socket.message()] == ["done", "done"]
    eventually(lambda: edge.metric("message_duration_seconds_count") == 2, "both are measured")
    # The second one waited for the first.
    assert 0.85 <= edge.metric("message_duration_seconds_sum") < 3
    app.on(Reply(500), event="message")
    socket.text("c")
    socket.expect_close(1011)
    assert edge.metric("message_duration_seconds_count") == 2


def test_messages_of_a_batch_are_measured_one_by_one(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=10)
    socket = edge.websocket()
    held = gate()
    app.on(lambda request: held.wait(10) and Reply(204))
    for n in range(5):
        socket.text(str(n))
    # The first is with the app; the others wait and go together.
    edge.wait_metric("messages_total", 5, direction="in")
    held.set()
    eventually(lambda: edge.metric("message_duration_seconds_count") == 5, "all are measured")
