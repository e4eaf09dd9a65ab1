"""Every bound that docs/how-it-works.md names with a setting is loaded by a test, some of them here."""

import re

import pytest
from support.net import eventually
from support.process import ROOT
from support.raw import encode
from support.ws import handshake_headers

# Which test loads the bound of each setting.
LOADED = {
    "BYTE_RATE": "test_bytes_above_the_rate_are_throttled",
    "CLIENT_EVENT_RATE": "test_too_many_events_between_clients_are_refused",
    "COMPRESSION_CONTEXT_TAKEOVER": "test_case_21_either_limit_alone_stops_a_bomb",
    "CONTROL_RATE": "test_a_flood_fills_the_socket_of_who_sends_it_and_delays_nobody",
    "HANDSHAKE_TIMEOUT": "test_heads_that_never_end_hold_no_more_than_their_cap_and_not_for_long",
    "HISTORY_SIZE": "test_only_the_newest_are_kept_and_a_gap_is_gone",
    "HISTORY_TTL": "test_what_is_older_than_its_time_to_live_is_gone",
    "MAX_CHANNELS_PER_CONNECTION": "test_ten_thousand_subscriptions_in_one_reply_are_refused_or_held_as_the_limit_says",
    "MAX_COMPRESSION_RATIO": "test_case_21_either_limit_alone_stops_a_bomb",
    "MAX_CONNECTIONS": "test_refused_connections_take_up_no_room",
    "MAX_CONNECTIONS_PER_IP": "test_one_address_cannot_take_all_connections_without_saying_a_word",
    "MAX_CONNECTIONS_PER_USER": "test_connections_of_one_user_are_limited_over_all_addresses",
    "MAX_DETACHED": "test_the_oldest_session_ends_when_there_are_too_many",
    "MAX_FRAGMENTS": "test_case_18_endless_fragments_close_at_the_cap",
    "MAX_HEADERS": "test_case_09_too_many_headers",
    "MAX_HEADER_BYTES": "test_heads_that_never_end_hold_no_more_than_their_cap_and_not_for_long",
    "MAX_HISTORY_BYTES": "test_all_histories_together_are_bounded_and_the_oldest_goes_first",
    "MAX_MESSAGE_BYTES": "test_max_message_bytes_over_fragments",
    "MAX_PENDING_BYTES": "test_max_pending_bytes_holds_back_the_client_and_loses_nothing",
    "MAX_REPLY_BYTES": "test_max_reply_bytes",
    "MAX_SEND_BUFFER_BYTES": "test_many_stalled_clients_hold_their_budgets_and_delay_nobody",
    "MAX_TOTAL_PENDING_BYTES": "test_silent_clients_with_half_a_message_do_not_stop_the_others",
    "MAX_TOTAL_SEND_BUFFER_BYTES": "test_hundreds_of_clients_that_do_not_read_hold_no_more_than_the_total",
    "MESSAGE_ASSEMBLY_TIMEOUT": "test_case_18_a_message_that_is_never_finished_meets_the_assembly_deadline",
    "MESSAGE_RATE": "test_a_throttled_client_fills_its_own_socket_and_not_our_memory",
    "MESSAGE_RATE_PER_IP": "test_messages_of_one_address_over_all_its_connections",
    "MESSAGE_RATE_PER_USER": "test_messages_of_one_user_over_all_addresses",
    "PUBLISH_RATE": "test_more_publications_than_the_rate_are_refused_and_not_sent",
    "RESUME_WINDOW": "test_the_window_ends",
    "WEBHOOK_BATCH": "test_a_batch_is_at_most_so_large",
    "WEBHOOK_MAX_IN_FLIGHT": "test_webhook_max_in_flight_is_never_exceeded",
    "WEBHOOK_RETRY_FOR": "test_when_the_time_is_over_the_client_gets_1013_and_the_app_the_close_event",
}


def test_every_bound_in_the_documentation_is_loaded_by_a_test():
    text = (ROOT / "docs/how-it-works.md").read_text()
    section = text.split("## Memory bounds\n", 1)[1].split("\n## ", 1)[0]
    bounds = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")]
    named = {name for bound in bounds for name in re.findall(r"`([A-Z_]+)`", bound)} - {"OUTBOX_DIR"}
    assert named == set(LOADED)
    known = (ROOT / "docs/configuration.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "Tests/Integration").rglob("test_*.py"))
    for name, test in LOADED.items():
        assert f"| `SIDESOCKET_{name}` |" in known
        assert tests.count(f"\ndef {test}(") == 1, test


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_head_of_exactly_max_header_bytes_passes(app, sidesocket, beyond):
    edge = sidesocket(app, MAX_HEADER_BYTES="1KiB")
    for pairs in ([], handshake_headers()):
        size = len(encode("GET", "/ws", [*pairs, ("X-Fill", "")]))
        with edge.client() as client:
            client.send(encode("GET", "/ws", [*pairs, ("X-Fill", "x" * (1024 + beyond - size))]))
            assert client.response().status == (431 if beyond > 0 else 101 if pairs else 200)


def test_heads_that_never_end_hold_no_more_than_their_cap_and_not_for_long(app, sidesocket):
    edge = sidesocket(app, MAX_HEADER_BYTES="8KiB", HANDSHAKE_TIMEOUT="3s")
    files = edge.open_files
    edge.forget_peak_rss()
    before = edge.rss
    clients = [edge.client() for _ in range(300)]
    for client in clients:
        client.send("GET /ws HTTP/1.1\r\nX-Fill: " + "x" * 8_000)
    other = edge.websocket()
    # They say no more; what they hold is their heads.
    assert edge.peak_rss - before < 300 * (8 << 10) * 3 + (12 << 20)
    for client in clients[:10]:
        assert client.response().status == 408
    for client in clients:
        client.sock.close()
    other.ping(b"?")
    assert other.receive().payload == b"?"
    other.close()
    eventually(lambda: edge.open_files <= files + 4, "all are gone")
