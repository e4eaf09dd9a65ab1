"""The control listener: metrics, health, readiness."""

import json
import shutil
import subprocess

import pytest
from support.app import Reply, gate
from support.net import eventually
from support.raw import Client, encode
from support.ws import TEXT, close_payload, frame


def scenario(app, process):
    """Something of everything."""
    app.echo()
    socket = process.websocket()
    socket.text("hello")
    assert socket.message() == "hello"
    socket.binary(b"12345")
    assert socket.message() == b"12345"
    socket.close()
    with process.client() as client:
        client.ask(target="/page")
    app.wait_events(1, "close")


def promtool(text):
    if not shutil.which("promtool"):
        pytest.skip("promtool is missing (Debian package prometheus)")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_metrics_text_is_clean(app, edge):
    promtool(edge.control("/metrics")[2])
    scenario(app, edge)
    status, headers, text = edge.control("/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain") and "version=0.0.4" in headers["content-type"]
    promtool(text)


def test_openmetrics_when_asked(app, edge):
    scenario(app, edge)
    # What Prometheus sends.
    accept = (
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    )
    status, headers, text = edge.control("/metrics", {"Accept": accept})
    assert status == 200
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


def test_metrics_count_what_happened(app, edge):
    app.echo()
    assert edge.metric("connections") == 0
    socket = edge.websocket()
    edge.wait_metric("connections", 1)
    socket.text("hello")
    assert socket.message() == "hello"
    socket.binary(b"12345678")
    assert socket.message() == b"12345678"
    socket.close()
    edge.wait_metric("webhook_requests_total", 1, event="close", outcome="2xx")
    assert edge.metric("connections") == 0
    assert edge.metric("connections_opened_total") == 1
    edge.wait_metric("connections_closed_total", 1, code="1000", initiator="client")
    assert edge.metric("connection_duration_seconds_count") == 1
    assert edge.metric("handshakes_total", result="accepted") == 1
    for direction in ("in", "out"):
        for kind in ("text", "binary"):
            assert edge.metric("messages_total", direction=direction, type=kind) == 1
        assert edge.metric("message_bytes_total", direction=direction, stage="payload") == 13
    assert edge.metric("message_bytes_total", direction="in", stage="wire") >= 13
    for event, count in (("open", 1), ("message", 2), ("close", 1)):
        assert edge.metric("webhook_requests_total", event=event, outcome="2xx") == count
        assert edge.metric("webhook_request_duration_seconds_count", event=event) == count
    for gauge in ("webhook_in_flight", "webhook_queue_depth", "pending_bytes", "send_buffer_bytes", "draining"):
        assert edge.metric(gauge) == 0, gauge
    with edge.client() as client:
        client.ask(target="/page")
        app.on(Reply(404), path="/missing")
        client.ask(target="/missing")
    edge.wait_metric("proxy_requests_total", 1, code_class="2xx")
    edge.wait_metric("proxy_requests_total", 1, code_class="4xx")
    assert edge.metric("proxy_request_duration_seconds_count") == 2


def test_handshakes_are_counted_by_result(app, sidesocket):
    edge = sidesocket(app, WS_PATHS="/ws,/refuse,/fail", MAX_CONNECTIONS=1)
    app.on(Reply(403), path="/refuse", event="open")
    app.on(Reply(raw=b"garbage\r\n\r\n", close=True), path="/fail", event="open")
    for target, more in (("/elsewhere", {}), ("/refuse", {}), ("/fail", {}), ("/ws", {"version": "12"})):
        edge.try_websocket(target, **more).sock.close()
        eventually(lambda: json.loads(edge.control("/readyz")[2])["capacity"]["connections"] == 0, "no connection left")
    kept = edge.websocket("/ws")
    edge.try_websocket("/ws")
    wanted = {"path": 1, "app_refused": 1, "app_failed": 1, "bad_request": 1, "accepted": 1, "connection_limit": 1}
    for result, count in wanted.items():
        edge.wait_metric("handshakes_total", count, result=result)
    kept.close()


def test_gauges_move_while_the_app_works(app, edge):
    held = gate()
    app.on(Reply(204, gate=held), event="message")
    socket = edge.websocket()
    socket.text("12345")
    socket.text("67890")
    socket.barrier()
    edge.wait_metric("webhook_in_flight", 1)
    assert edge.metric("pending_bytes") >= 10
    held.set()
    edge.wait_metric("webhook_in_flight", 0)
    edge.wait_metric("pending_bytes", 0)


def test_webhook_outcomes(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_TIMEOUT="300ms", WEBHOOK_FAILURE="keep")
    outcomes = {
        "3xx": Reply(302),
        "4xx": Reply(404),
        "5xx": Reply(500),
        "timeout": Reply(raw=b""),
        "bad_reply": Reply(raw=b"garbage\r\n\r\n", close=True),
    }
    socket = edge.websocket()
    for outcome, reply in outcomes.items():
        app.on(reply, event="message")
        socket.text("x")
        edge.wait_metric("webhook_requests_total", 1, event="message", outcome=outcome)
    app.stop_listening()
    socket.text("x")
    eventually(lambda: edge.metric("webhook_requests_total", event="message", outcome="connect_error") >= 1, "refused")


def test_unknown_close_codes_fold_into_other(app, edge):
    for code in (4001, 4567, 3333):
        edge.websocket().close(code)
    edge.wait_metric("connections_closed_total", 3, initiator="client")
    codes = {dict(labels)["code"] for (name, labels) in edge.metrics() if name == "sidesocket_connections_closed_total"}
    assert not codes & {"4567", "3333"}
    assert "other" in codes


def test_case_40_no_label_comes_from_a_client(app, sidesocket):
    edge = sidesocket(app, ALLOWED_ORIGINS="*")

    def visit(n):
        socket = edge.websocket(
            f"/path/{n}", headers={"User-Agent": f"agent-{n}", "Origin": f"http://o{n}.test"}, host=f"h{n}.test"
        )
        socket.text("x")
        socket.frame(8, close_payload(4100 + n, f"reason {n}"))
        socket.expect_close()
        with edge.client() as client:
            client.ask(f"METHOD{n}", f"/plain/{n}", host=f"h{n}.test")
        with edge.client() as client:
            client.send(encode(f"M{n}", f"/x{n}", {f"X_Forwarded_{n}": "1"}))
            client.response()

    visit(0)
    app.wait_events(1, "close")
    before = eventually(lambda: edge.metric("connections") == 0 and set(edge.metrics()))
    for n in range(1, 30):
        visit(n)
    app.wait_events(30, "close")
    eventually(lambda: edge.metric("connections") == 0)
    text = edge.control("/metrics")[2]
    for word in ("agent-", "/path/", "METHOD", "o1.test", "h1.test", "reason "):
        assert word not in text
    # Label pairs of a known, small set only; none is new for a new path, method, agent or code.
    assert set(edge.metrics()) == before


@pytest.mark.parametrize(
    "name",
    [
        "process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes",
        "process_start_time_seconds", "process_open_fds", "process_max_fds",
    ],
)  # fmt: skip
def test_process_metrics(shared, name):
    _, process = shared
    assert process.metrics()[(name, frozenset())] > 0


def test_build_info(shared):
    _, process = shared
    assert process.metric("build_info") == 1
    assert any(name == "sidesocket_build_info" and dict(labels)["version"] for name, labels in process.metrics())


def test_healthz(shared):
    _, process = shared
    assert process.control("/healthz")[0] == 200


def test_healthz_lives_without_the_app(app, edge):
    app.stop_listening()
    assert edge.try_websocket().answer.status in (502, 503)
    assert edge.control("/healthz")[0] == 200
    assert edge.readyz()[0] == 200


def test_ready_means_that_the_public_port_accepts(app, sidesocket):
    for _ in range(8):
        edge = sidesocket(app)
        with edge.client() as client:
            assert client.ask().status == 200
        edge.kill()
        edge.exit_expected = True


def test_readyz_gives_json_detail(shared):
    _, process = shared
    status, headers, body = process.control("/readyz")
    assert status == 200 and headers["content-type"].startswith("application/json")
    detail = json.loads(body)
    assert {"app", "capacity"} <= set(detail)


def test_the_control_listener_is_no_proxy(app, edge):
    for path in ("/page", "/ws", "/v2/x", "/metricsx"):
        assert edge.control(path)[0] == 404
    with Client(edge.control_port) as client:
        assert client.ask("POST", "/metrics", body=b"").status in (404, 405)
    assert app.heads == []


def test_control_errors_are_problem_json(shared):
    _, process = shared
    status, headers, body = process.control("/nothing/here")
    assert status == 404
    assert headers["content-type"].startswith("application/problem+json")
    assert json.loads(body)["status"] == 404


def test_a_stuck_reader_of_the_control_port_harms_nobody(app, edge):
    app.echo()
    stuck = [Client(edge.control_port) for _ in range(20)]
    for client in stuck:
        client.send(b"GET /metrics HTT")
    assert edge.control("/healthz")[0] == 200
    socket = edge.websocket()
    socket.send(frame(TEXT, "still quick"))
    assert socket.message() == "still quick"


def test_readiness_may_need_the_app(app, sidesocket):
    """Until the first health check has passed, and while none does."""
    app.on(Reply(500), path="/up")
    edge = sidesocket(app, wait=False, READY_NEEDS_APP="true", APP_HEALTH_PATH="/up", APP_HEALTH_INTERVAL="100ms")
    eventually(lambda: len([r for r in app.heads if r.path == "/up"]) > 3, "the health check has failed")
    status, body = edge.readyz()
    assert status == 503
    told = json.loads(body)
    assert told["status"] == "app down" and told["apps"][0]["down"] is True
    app.reset_script()
    eventually(lambda: edge.readyz()[0] == 200, "ready again")
    app.on(Reply(500), path="/up")
    eventually(lambda: edge.readyz()[0] == 503, "not ready any more")
