"""The Origin check: which pages may open a socket, decided before the app is asked."""

import pytest
from support.guard import check_refused, counted, enter, fresh, guard_pair, knock, limited
from support.net import eventually

same_host = guard_pair()
listed = guard_pair(ALLOWED_ORIGINS="https://example.com, https://*.shop.example, http://localhost:3000")

ORIGIN = ("handshakes_total", {"result": "origin"}, 1)


def refuse(pair, **handshake):
    """Wants 403, the end of the connection, one count, and nothing at the app."""
    app, process = fresh(pair)
    with counted(process, ORIGIN):
        check_refused(knock(process, **handshake), 403)
    assert app.heads == []


def allow(pair, **handshake):
    app, process = fresh(pair)
    enter(process, **handshake).close()
    app.wait_events(1, "open")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil-example.com",
        "https://example.com.evil.com",
        "https://evil.com",
        "https://sub.example.com",
        "https://example.com:8443",
        "http://example.com:443",
        "null",
        "NULL",
        "https://example.com@evil",
        "https://evil@example.com",
        "https://example.com.",
        "https://example.com..",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com, https://example.com",
        "https://example.com https://example.com",
        "https://example.com:",
        "https://example.com:0",
        "https://example.com:443443",
        "https://exa%6dple.com",
        "example.com",
        "//example.com",
        "https:example.com",
        "file://",
        "file://example.com",
        "chrome-extension://example.com",
        "https://[::1]",
        "https://" + "a" * 20_000,
    ],
    ids=lambda origin: origin[:40],
)
def test_case_11_another_origin_is_refused_before_the_app_is_asked(same_host, origin):
    refuse(same_host, host="example.com", origin=origin)


FOREIGN = ["cross-site", "Cross-Site", "same-site", "same-origin, cross-site", "cross-site;x=1"]


@pytest.mark.parametrize("site", FOREIGN)
def test_a_page_of_another_site_without_origin_is_refused(same_host, site):
    refuse(same_host, headers=[("Sec-Fetch-Site", site)])
    refuse(same_host, headers=[("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", site)])


@pytest.mark.parametrize("site", [None, "same-origin", "none", "SAME-ORIGIN", "", "else"])
def test_pages_of_the_same_origin_and_programs_pass_without_origin(same_host, site):
    allow(same_host, headers=[] if site is None else [("Sec-Fetch-Site", site)])


def test_an_allowed_origin_passes_from_whatever_site(listed):
    for site in ("cross-site", "same-site"):
        allow(listed, origin="https://example.com", headers=[("Sec-Fetch-Site", site)])
        refuse(listed, origin="https://evil.com", headers=[("Sec-Fetch-Site", site)])
        refuse(listed, headers=[("Sec-Fetch-Site", site)])


@pytest.mark.parametrize("settings", [{"ALLOWED_ORIGINS": "*"}, {"DRY_RUN": "allowed_origins"}], ids=str)
def test_other_sites_pass_where_any_origin_does(app, sidesocket, settings):
    edge = sidesocket(app, **settings)
    enter(edge, headers=[("Sec-Fetch-Site", "cross-site")])
    assert edge.metric("limited_total", limit="allowed_origins", action="dry_run") == ("DRY_RUN" in settings)


def test_case_11_two_origin_fields_are_refused_even_when_both_are_allowed(same_host):
    for other in ("https://example.com", "https://evil.com"):
        refuse(same_host, host="example.com", origin="https://example.com", headers=[("Origin", other)])
        refuse(same_host, host="example.com", origin=other, headers=[("oRIGIN", "https://example.com")])


@pytest.mark.parametrize(
    "host, origin",
    [
        ("example.com", "https://example.com"),
        ("example.com", "http://example.com"),
        ("example.com", "HTTPS://EXAMPLE.COM:443"),
        ("EXAMPLE.com", "https://example.COM"),
        ("example.com:8080", "http://example.com:8080"),
        ("example.com:443", "https://example.com"),
        ("[::1]:8080", "http://[0:0::1]:8080"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
    ],
)
def test_case_11_pages_of_the_same_host_are_allowed(same_host, host, origin):
    allow(same_host, host=host, origin=origin)


def test_a_client_without_origin_is_allowed_by_default(same_host):
    allow(same_host, host="example.com")


def test_case_12_a_cross_site_page_with_the_victims_cookie_is_refused(same_host):
    refuse(
        same_host,
        host="shop.example",
        origin="https://evil.example",
        headers={"Cookie": "session=the-victims", "Authorization": "Bearer the-victims"},
    )


@pytest.mark.parametrize(
    "origin",
    ["https://example.com", "HTTPS://EXAMPLE.COM:443", "https://a.shop.example", "https://a.b.SHOP.example:443",
     "http://localhost:3000"],
)  # fmt: skip
def test_a_listed_origin_is_allowed_whatever_the_host(listed, origin):
    allow(listed, host="api.elsewhere.test", origin=origin)


@pytest.mark.parametrize(
    "origin",
    ["http://example.com", "https://example.com:444", "https://shop.example", "https://evilshop.example",
     "http://a.shop.example", "https://a.shop.example:8443", "https://.shop.example", "https://a.shop.example.evil.com",
     "http://localhost", "http://localhost:3001", "https://localhost:3000", "null", "https://api.elsewhere.test"],
)  # fmt: skip
def test_case_11_what_is_not_listed_is_refused_also_the_same_host(listed, origin):
    refuse(listed, host="api.elsewhere.test", origin=origin)


def test_a_star_allows_any_origin_but_null(app, sidesocket):
    edge = sidesocket(app, ALLOWED_ORIGINS="*")
    for origin in ("https://anybody.example", "http://127.0.0.1:1", "chrome-extension://abc"):
        enter(edge, origin=origin).close()
    for origin in ("null", "nonsense"):
        check_refused(knock(edge, origin=origin), 403)


def test_null_is_allowed_where_it_is_listed(app, sidesocket):
    edge = sidesocket(app, ALLOWED_ORIGINS="null,https://example.com")
    enter(edge, origin="null").close()
    enter(edge, origin="https://example.com").close()
    check_refused(knock(edge, origin="https://other.example"), 403)


def test_a_missing_origin_can_be_refused(app, sidesocket):
    edge = sidesocket(app, ALLOW_MISSING_ORIGIN="false")
    with counted(edge, ORIGIN):
        check_refused(knock(edge, host="example.com"), 403)
    check_refused(knock(edge, host="example.com", headers={"Origin": ""}), 403)
    assert app.heads == []
    enter(edge, host="example.com", origin="https://example.com").close()


def test_only_handshakes_are_checked_other_requests_are_the_apps_to_judge(same_host):
    app, process = fresh(same_host)
    with process.client() as client:
        assert client.ask(headers={"Origin": "https://evil.example"}, host="example.com").status == 200
    assert app.plain()[0].header("origin") == "https://evil.example"


def test_behind_a_trusted_proxy_the_forwarded_host_counts(app, sidesocket):
    edge = sidesocket(app, TRUSTED_PROXIES="loopback")
    forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "shop.example"}
    enter(edge, host="internal:3000", headers=forwarded, origin="https://shop.example").close()
    check_refused(knock(edge, host="internal:3000", headers=forwarded, origin="http://internal:3000"), 403)
    # Where the client speaks https, a plain http page of the same name could be anybody's on the way.
    secure = {**forwarded, "X-Forwarded-Proto": "https"}
    enter(edge, host="internal:3000", headers=secure, origin="https://shop.example").close()
    check_refused(knock(edge, host="internal:3000", headers=secure, origin="http://shop.example"), 403)


def test_a_forwarded_host_of_a_peer_that_is_not_trusted_is_ignored(same_host):
    forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "evil.example"}
    refuse(same_host, host="shop.example", headers=forwarded, origin="https://evil.example")
    allow(same_host, host="shop.example", headers=forwarded, origin="https://shop.example")


def test_dry_run_counts_the_origin_and_lets_it_pass(app, sidesocket):
    edge = sidesocket(app, DRY_RUN="allowed_origins")
    with counted(edge, limited("allowed_origins", "dry_run"), ("handshakes_total", {"result": "accepted"}, 1)):
        enter(edge, host="shop.example", origin="https://evil.example").close()
    with counted(edge, limited("allowed_origins", "dry_run", 0)):
        enter(edge, host="shop.example", origin="https://shop.example").close()
    assert edge.metric("handshakes_total", result="origin") == 0


def test_a_refusal_is_logged_on_one_line_that_names_the_client(app, sidesocket):
    edge = sidesocket(app, LOG_LEVEL="debug")
    # The first in a minute is a warning besides (test_refusals_logged.py).
    check_refused(knock(edge, source="127.0.0.3", host="shop.example", origin="https://evil.example"), 403)
    before = len(edge.raw_lines)
    check_refused(knock(edge, source="127.0.0.2", host="shop.example", origin="https://evil.example"), 403)

    def lines():
        return [line for line in edge.raw_lines[before:] if b"127.0.0.2" in line]

    eventually(lines, "a line about the refusal")
    assert len(lines()) == 1
