"""AUDIT_LOG: who changed what through the API, one JSON line each, and not a secret in it."""

import json
import os
import resource

import pytest
from support.api import API, TOKEN, ban_path, named
from support.app import Reply
from support.guard import enter
from support.net import eventually
from support.process import run
from support.raw import Client
from support.ws import TEXT

FIELDS = {"time", "audit", "who", "target", "outcome", "detail"}


def lines(path):
    """Every line of the log, each checked for its form."""
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for entry in found:
        assert FIELDS <= set(entry), entry
        assert entry["time"].endswith("Z") and entry["outcome"] in ("ok", "not_found", "bad_request", "refused")
    return found


def wait_lines(path, count):
    found = eventually(lambda: len(f := lines(path)) >= count and f, lambda: f"{count} lines: {lines(path)}")
    assert len(found) == count, found
    return found


def test_each_change_is_one_line_and_looking_is_none(app, sidesocket, tmp_path):
    path = tmp_path / "audit.log"
    edge = sidesocket(app, AUDIT_LOG=path, CONTROL_TOKEN=TOKEN, DRAIN_TIMEOUT="2s")
    app.on(named, event="open")
    api = API(edge, TOKEN)
    sockets = [enter(edge, target=f"/ws?user={user}") for user in "aab"]
    a, _, b = [event.header("ce-connectionid") for event in app.events("open")]
    text = {"Content-Type": "text/plain"}
    api.want(200, "POST", f"/v1/connections/{a}/messages", b"hush", text)
    api.want(404, "POST", "/v1/connections/nope/messages", b"hush", text)
    api.want(400, "POST", f"/v1/connections/{a}/messages", b"\xff", text)
    api.want(200, "POST", "/v1/users/a/messages", b"hush", text)
    entries = [{"user": "b", "text": "hush"}, {"connection": b, "text": "hush"}, {"connection": "nope", "text": "hush"}]
    api.want(200, "POST", "/v1/messages", json.dumps(entries))
    api.want(204, "DELETE", f"/v1/connections/{b}")
    api.want(404, "DELETE", "/v1/connections/nope")
    api.want(400, "DELETE", f"/v1/connections/{a}", code=1)
    api.want(200, "DELETE", "/v1/users/a/connections")
    api.ban("ip", "127.0.0.8/29")
    api.want(400, "PUT", ban_path("ip", "127.0.0.9"), ttl="x")
    api.ban("user", "eve")
    api.want(204, "DELETE", ban_path("user", "eve"))
    api.want(404, "DELETE", ban_path("user", "eve"))
    for look in ("/v1/connections", f"/v1/connections/{a}", "/v1/bans", "/v1/bans/user/eve", "/metrics", "/readyz"):
        api.ask("GET", look)
    API(edge, "wr0ng-token").want(401, "DELETE", f"/v1/connections/{a}")
    edge.exit_expected = True
    assert api.ask("POST", "/v1/drain").status in (200, 202, 204)
    wanted = [
        ("connection.message", a, "ok"),
        ("connection.message", "nope", "not_found"),
        ("connection.message", a, "bad_request"),
        ("user.message", "a", "ok"),
        ("user.message", "b", "ok"),
        ("connection.message", b, "ok"),
        ("connection.message", "nope", "not_found"),
        ("connection.close", b, "ok"),
        ("connection.close", "nope", "not_found"),
        ("connection.close", a, "bad_request"),
        ("user.close", "a", "ok"),
        ("ban.add", "127.0.0.8/29", "ok"),
        ("ban.add", "127.0.0.9", "bad_request"),
        ("ban.add", "eve", "ok"),
        ("ban.remove", "eve", "ok"),
        ("ban.remove", "eve", "not_found"),
        ("api.refused", f"/v1/connections/{a}", "refused"),
        ("drain", "", "ok"),
    ]
    found = wait_lines(path, len(wanted))
    assert [(entry["audit"], entry["outcome"]) for entry in found] == [(audit, outcome) for audit, _, outcome in wanted]
    for entry, (_, target, _) in zip(found, wanted, strict=True):
        assert target in entry["target"], entry
        assert entry["who"].startswith("api 127.0.0.1"), entry
    for secret in ("hush", TOKEN, "wr0ng-token"):
        assert secret not in path.read_text() and secret not in edge.output
    assert edge.wait_exit() == 0
    del sockets


@pytest.mark.parametrize("setting", [None, "stderr"])
def test_the_log_is_stderr_by_default(app, sidesocket, setting):
    edge = sidesocket(app, AUDIT_LOG=setting)
    API(edge).ban("user", "eve")
    (entry,) = eventually(lambda: [e for e in edge.logs if e.get("audit")], lambda: edge.output)
    assert (entry["audit"], entry["outcome"]) == ("ban.add", "ok") and FIELDS <= set(entry)


def test_a_file_is_appended_to_and_what_was_in_it_stays(app, sidesocket, tmp_path):
    path = tmp_path / "audit.log"
    path.write_text('{"time":"Z","audit":"x","who":"","target":"","outcome":"ok","detail":""}\n')
    for count in (2, 3):
        edge = sidesocket(app, AUDIT_LOG=path)
        API(edge).ban("user", "eve")
        wait_lines(path, count)
        edge.terminate()
        assert edge.wait_exit() == 0
    assert lines(path)[0]["audit"] == "x"
    assert not [entry for entry in edge.logs if entry.get("audit")]


def test_a_file_that_cannot_be_written_is_an_error_at_the_start(tmp_path):
    done = run(APP_URL="http://127.0.0.1:1", AUDIT_LOG=tmp_path / "missing" / "audit.log")
    assert done.returncode == 78 and "SIDESOCKET_AUDIT_LOG" in done.stderr


def refused_calls(edge, count, path="/v1/bans", method="GET"):
    """The statuses of so many calls without the token on one connection."""
    with Client(edge.control_port) as client:
        statuses = []
        for _ in range(count // 50):
            client.send(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n" * 50)
            statuses += [client.response().status for _ in range(50)]
    return statuses


def test_refused_calls_do_not_fill_the_disk_and_changes_are_noted_all_the_same(app, sidesocket, tmp_path):
    path = tmp_path / "audit.log"
    edge = sidesocket(app, AUDIT_LOG=path, CONTROL_TOKEN=TOKEN)
    statuses = refused_calls(edge, 2000)
    assert statuses[:90] == [401] * 90 and statuses[-1] == 429 and set(statuses) == {401, 429}
    assert edge.metric("limited_total", limit="api_refusals", action="refused") == statuses.count(429)
    with Client(edge.control_port) as client:
        answer = client.ask("GET", "/v1/bans")
        assert answer.status == 429 and 1 <= int(answer.header("retry-after")) <= 2
    # Whoever has the token is served and noted, from the same address too.
    for number in range(150):
        API(edge, TOKEN).ban("user", f"u{number}")
    API(edge, TOKEN).want(404, "DELETE", "/v1/connections/nope")
    edge.terminate()
    assert edge.wait_exit() == 0
    found = lines(path)
    assert len([entry for entry in found if entry["audit"] == "ban.add" and entry["outcome"] == "ok"]) == 150
    assert len(found) < 150 + 130
    (rest,) = [entry for entry in found if " more " in entry["detail"]]
    assert (rest["audit"], rest["who"]) == ("api.refused", "api 127.0.0.1")
    noted = len([entry for entry in found if entry["target"] == "GET /v1/bans"])
    assert noted + int(rest["detail"].split()[0]) >= 2001


def test_a_line_that_a_full_disk_cut_short_does_not_swallow_the_next(app, sidesocket, tmp_path):
    path = tmp_path / "audit.log"
    whole = '{"time":"Z","audit":"x","who":"","target":"","outcome":"ok","detail":""}\n'
    path.write_text(whole + '{"time":"Z","au')
    edge = sidesocket(app, AUDIT_LOG=path)
    api = API(edge)
    api.ban("user", "a")
    eventually(lambda: path.read_text().count("\n") == 3, lambda: path.read_text())
    assert path.read_text().startswith(whole + '{"time":"Z","au\n{"time"')
    # Room for ten bytes more, as on a full disk.
    unlimited = resource.prlimit(edge.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(edge.process.pid, resource.RLIMIT_FSIZE, (path.stat().st_size + 10, unlimited[1]))
    api.ban("user", "b")
    api.ban("user", "c")
    eventually(lambda: len([e for e in edge.logs if e.get("audit") == "ban.add"]) == 2, lambda: edge.output)
    resource.prlimit(edge.process.pid, resource.RLIMIT_FSIZE, unlimited)
    api.ban("user", "d")
    eventually(lambda: path.read_text().endswith('"}\n'), lambda: path.read_text())
    last = path.read_text().splitlines()[-1]
    assert json.loads(last)["target"].endswith(" d"), path.read_text()


def test_no_text_from_outside_turns_a_line_round_or_drives_a_terminal(app, sidesocket, tmp_path):
    path = tmp_path / "audit.log"
    edge = sidesocket(app, AUDIT_LOG=path)
    evil = "a\u0085\u009b\u061c\u200e\u202e\u2066z"
    API(edge).ban("user", evil)
    (entry,) = wait_lines(path, 1)
    assert entry["target"].endswith(evil)
    app.on(Reply(204, headers={"Sidesocket-User": evil.encode().decode("latin-1")}), event="open")
    API(edge).want(204, "DELETE", ban_path("user", evil))
    socket = edge.websocket()
    socket.close(1000)
    eventually(lambda: [e for e in edge.logs if e.get("user") == evil], lambda: edge.output)
    for text in (path.read_text(), edge.output):
        assert not set(evil[1:-1]) & set(text)


def test_an_automatic_ban_is_noted(app, sidesocket, tmp_path):
    path = tmp_path / "audit.log"
    edge = sidesocket(app, AUDIT_LOG=path, AUTO_BAN="1/1m,ttl=10m")
    for _ in range(2):
        socket = enter(edge, "127.0.0.2")
        socket.frame(TEXT, b"\xff")
        socket.expect_close(1007)
    (entry,) = wait_lines(path, 1)
    assert (entry["audit"], entry["who"], entry["outcome"]) == ("ban.auto", "auto", "ok")
    assert "127.0.0.2" in entry["target"]


def test_nobody_can_forge_a_line(app, sidesocket, tmp_path):
    path = tmp_path / "audit.log"
    edge = sidesocket(app, AUDIT_LOG=path, CONTROL_TOKEN=TOKEN)
    evil = 'x"}\n{"audit":"forged"}\r\x1b[2J'
    api = API(edge, TOKEN)
    api.want(200, "DELETE", "/v1/users/x%22%7D%0A%7B%22audit%22:%22forged%22%7D%0D%1b%5B2J/connections", reason="a\nb")
    (entry,) = wait_lines(path, 1)
    assert entry["audit"] == "user.close" and evil in entry["target"]
    API(edge).want(401, "GET", "/v1/connections/%0A%7B%7D")
    assert wait_lines(path, 2)[1]["audit"] == "api.refused"
    assert "\x1b" not in path.read_text()


def test_no_log_and_no_check_has_a_secret_in_it(app, sidesocket, tmp_path):
    key = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
    secrets = {"CONTROL_TOKEN": TOKEN, "WEBHOOK_SECRET": f"whsec_{key}", "JWT_KEY": "jwt-key-" * 5}
    settings = {**secrets, "AUTH": "optional", "JWT_ALGORITHMS": "HS256"}
    done = run("check", APP_URL="http://127.0.0.1:1", **settings)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "audit.log"
    edge = sidesocket(app, AUDIT_LOG=path, LOG_LEVEL="trace", **settings)
    hidden = {"Cookie": "session=c00kie", "Authorization": "Basic h1dden"}
    socket = edge.websocket(headers=hidden)
    one = app.wait_events(1, "open")[0].header("ce-connectionid")
    api = API(edge, TOKEN)
    api.want(422, "POST", f"/v1/connections/{one}/token", b"aaaa.t0ken.bbbb")
    api.want(204, "DELETE", f"/v1/connections/{one}")
    API(edge, "wr0ng-token").want(401, "GET", "/v1/bans")
    socket.expect_close(1008)
    wait_lines(path, 3)
    for word in (TOKEN, key, "jwt-key-jwt", "c00kie", "h1dden", "t0ken", "wr0ng"):
        for text in (done.stdout + done.stderr, edge.output, path.read_text()):
            assert word not in text, word


def test_a_pipe_that_nobody_reads_is_an_error_at_the_start(tmp_path):
    """Opening it would wait for a reader, and for ever."""
    pipe = tmp_path / "audit.pipe"
    os.mkfifo(pipe)
    done = run(APP_URL="http://127.0.0.1:1", AUDIT_LOG=pipe)
    assert done.returncode == 78 and "SIDESOCKET_AUDIT_LOG" in done.stderr, done.stderr


def test_a_pipe_whose_reader_stalls_holds_up_nothing(app, sidesocket, tmp_path):
    pipe = tmp_path / "audit.pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        edge = sidesocket(app, AUDIT_LOG=pipe)
        # More than a pipe holds; the rest goes to standard error.
        for number in range(500):
            API(edge).ban("user", f"u{number}-" + "x" * 150)
            if [entry for entry in edge.logs if entry.get("audit")]:
                break
        assert [entry for entry in edge.logs if entry.get("audit")], "nothing came in the pipe's place"
        assert edge.control("/healthz")[0] == 200
    finally:
        os.close(reader)
