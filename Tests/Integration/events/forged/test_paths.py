"""Nobody reaches the webhook on the app by a path that the app takes for it."""

import pytest
from support.forgery import answers, check_only, sidecar
from support.net import eventually
from support.raw import close_clients, encode

# What each app's own router takes for /hook, apart from that path itself.
LEADS_TO_HOOK = {
    "php": ["/hook/", "//hook", "/index.php/hook", "/%2568ook", "/%68ook", "/x/../hook", "/hook%2f", "/hook/%2e"],
    "php-fpm": ["/hook/", "//hook", "/index.php/hook", "/%2568ook", "/%68ook", "/x/../hook", "/hook%2f", "/hook/%2e"],
    "lighttpd": ["/hook/", "//hook", "/%68ook", "/x/../hook", "/hook%2f", "/hook/%2e"],
    "gunicorn": ["/hook/", "/%68ook", "/hook%2f"],
    "rails": ["/hook/", "//hook", "/hook.json", "/hook.%20"],
    "express": ["/HOOK", "/Hook/"],
}
REFUSED_PATHS = [
    "/hook", "/HOOK", "/Hook/", "/hook/", "/hook//", "//hook", "/hook;x=1", "/hook;", "/hook/;x", "/;/hook",
    "/;a=b/hook", "/hook/..;/hook", "/x/..;/hook", "/index.php/hook", "/index.php/HOOK", "/app/index.php/hook/",
    "/hook%20", "/hook%20%20", "/hook%09", "/hook%0a", "/hook%00", "/%68ook", "/%2568ook", "/%252568ook",
    "/%48%4F%4F%4B", "/hook.", "/hook..", "/hook./", "/hook.json", "/hook.%20", "/hook%2e", "/hook%252e", "/hook%2f",
    "/hook%252f", "/%2fhook", "/hook%3bx=1", "/hook%253bx", "/./hook", "/x/../hook", "/x/%2e%2e/hook",
    "/x/%252e%252e/hook", "/hook/.", "/hook/%2e", "/hook/x/..", "/%5chook", "/hook%5c", "/x/hook", "/hook?type=x",
    "/HOOK;jsessionid=1/?x", "/hook%20/", "/hook%20;x",
]  # fmt: skip
ORDINARY_PATHS = [
    "/", "/hooks", "/hook2", "/hook-2", "/hook_", "/a/hooker", "/myhook", "/my-hook", "/hookx/", "/h", "/hoo", "/ho/ok",
    "/hook/settings", "/?next=/hook", "/search?q=hook", "/x;hook", "/index.php", "/captain%20hook2",
]  # fmt: skip


@pytest.fixture(scope="module")
def hooked(real):
    app, _ = real
    process = sidecar(app.url, WEBHOOK_URL=f"{app.url}/hook")
    yield app, process
    close_clients()
    process.check_alive()
    process.kill()


@pytest.fixture
def hooked_pair(hooked):
    app, process = hooked
    process.check_alive()
    app.forget()
    return app, process


def test_the_app_itself_takes_such_paths_for_the_webhook(hooked_pair):
    app, _ = hooked_pair
    for path in ["/hook", *LEADS_TO_HOOK[app.name]]:
        app.forget()
        answers(app.port, encode("POST", path, {"Connection": "close"}, b"x"))
        assert [request.is_hook for request in app.requests] == [True], path


def test_case_44_a_path_that_an_app_takes_for_the_webhook_is_not_found(hooked_pair):
    app, process = hooked_pair
    found = []
    for number, path in enumerate(dict.fromkeys(REFUSED_PATHS + LEADS_TO_HOOK[app.name])):
        method = ("POST", "GET", "PUT")[number % 3]
        status = answers(process.port, encode(method, path, body=b"x")).status
        if status != 404:
            found.append((path, status))
    assert found == []
    answers(process.port, encode("POST", "/after", body=b"x"))
    check_only(app, "/after")
    # Sidesocket itself still gets there.
    app.forget()
    process.websocket("/ws").sock.close()
    opened, closed = eventually(lambda: (seen := app.requests)[1:] and seen, "both events arrived")
    assert opened.is_hook and closed.is_hook
    assert (opened.header("Ce-Type"), opened.header("Ce-Subject")) == ("sidesocket.open", "/ws")


def test_case_44_ordinary_paths_pass(hooked_pair):
    app, process = hooked_pair
    refused = [path for path in ORDINARY_PATHS if answers(process.port, encode("POST", path, body=b"x")).status == 404]
    assert refused == []
    assert [request.target for request in app.requests] == ORDINARY_PATHS


@pytest.mark.parametrize(("path", "prefix"), [("/x/hook", "/x"), ("/myhook", "/my")])
def test_case_44_gunicorn_is_not_told_to_leave_out_a_part_of_the_path(real_apps, path, prefix):
    """gunicorn believes whoever connects from its own machine that what `Script_Name` says comes off the path."""
    app = real_apps("flask")
    app.forget()
    fields = {"Script_Name": prefix, "Connection": "close"}
    answers(app.port, encode("POST", path, fields, b"x"))
    assert [request.is_hook for request in app.requests] == [True]
    app.forget()
    process = sidecar(app.url, WEBHOOK_URL=f"{app.url}/hook")
    try:
        answers(process.port, encode("POST", path, fields, b"x"))
        assert [request.target for request in app.requests if request.is_hook] == []
    finally:
        process.kill()


def test_case_44_an_absolute_target_is_compared_too(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_URL=f"{app.url}/hook")
    for path in ("/hook", "/HOOK", "/hook;x", "/%2568ook"):
        assert answers(edge.port, encode("POST", f"http://a.test{path}", host="a.test")).status == 404
    assert app.requests == []


@pytest.mark.parametrize(
    ("hook", "refused", "passed"),
    [
        ("/", ["/", "//", "/%2f", "/;x", "/."], ["/page", "/a/", "/index.html"]),
        ("", ["/", "//"], ["/page", "/a/"]),
        ("/api/Hook/", ["/api/hook", "/API/HOOK/", "/api;x/hook", "/x/api/hook"], ["/hook", "/api", "/api/x/hook"]),
        ("/hook?key=1", ["/hook", "/hook?key=2", "/HOOK?key=1"], ["/?key=1", "/hooks?key=1"]),
        ("/a%20hook", ["/a%20hook", "/A%20HOOK", "/a%2520hook"], ["/ahook", "/a"]),
        ("/hook.php", ["/hook.php", "/hook.php/", "/HOOK.PHP"], ["/hook.phps", "/hooks.php"]),
    ],
)
def test_case_44_the_webhook_may_lie_anywhere(app, sidesocket, hook, refused, passed):
    edge = sidesocket(app, WEBHOOK_URL=f"{app.url}{hook}")
    for path in refused:
        assert answers(edge.port, encode("POST", path)).status == 404, path
    assert app.requests == []
    for path in passed:
        assert answers(edge.port, encode("POST", path)).status == 200, path


def test_case_44_a_webhook_elsewhere_fences_nothing(app, make_app, sidesocket):
    elsewhere = make_app()
    edge = sidesocket(app, WEBHOOK_URL=f"{elsewhere.url}/hook")
    for path in ("/hook", "/HOOK", "/hook;x"):
        assert answers(edge.port, encode("POST", path)).status == 200
    assert elsewhere.requests == []
