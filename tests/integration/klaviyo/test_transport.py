"""Each trap of the official SDK, on a real socket: we do not fall in."""

from __future__ import annotations

import gzip
import inspect
import socket
import time
import traceback
import zlib
from typing import Any

import pytest
from openapi_client.api_client import ApiClient
from openapi_client.exceptions import ApiException
from openapi_client.rest import RESTClientObject

from klaviyo_bridge.errors import (
    BridgeError,
    CircuitOpen,
    ConfigError,
    InvalidPayload,
    NotAuthorized,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from klaviyo_bridge.klaviyo import filters

PERSON: dict[str, Any] = {"data": {"type": "profile", "id": "01A", "attributes": {"email": "ada@example.com"}}}
SERIALIZE = """self method resource_path path_params query_params header_params body post_params files
auth_settings collection_formats _host _request_auth"""
EMPTY = {"data": [], "links": {"next": None}}


def hang_up(_asked: Any, connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def reset(_asked: Any, connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


def silence(_asked: Any, connection: socket.socket) -> None:
    connection.settimeout(10)
    connection.recv(1)


def trickle(_asked: Any, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(200):
        time.sleep(0.05)
        connection.sendall(b" ")


def trickle_headers(_asked: Any, connection: socket.socket) -> None:
    for _ in range(200):
        time.sleep(0.05)
        connection.sendall(b"X")


class TestHiddenRetries:
    """Trap 3: the SDK turns one throttled GET into twelve requests."""

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_throttled_read_is_exactly_one_request(self, stub: Any, connect: Any, status: int) -> None:
        stub.says(stub.answer(status, headers={"Retry-After": "3"}))

        with pytest.raises(Unavailable) as error:
            connect(attempts=3).api.profiles.get("01A")

        assert len(stub.asked) == 1
        assert error.value.retry_after == 3

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504, 520, 524, 302])
    def test_a_write_is_exactly_one_request(self, stub: Any, connect: Any, status: int) -> None:
        stub.says(stub.answer(status, headers={"Location": "/elsewhere"}))

        with pytest.raises(BridgeError):
            connect(attempts=3).api.events.create(b"{}")

        assert len(stub.asked) == 1

    @pytest.mark.parametrize("ending", [hang_up, reset], ids=["closed", "reset"])
    def test_a_read_that_breaks_is_tried_again_in_one_place(self, stub: Any, connect: Any, ending: Any) -> None:
        stub.says(ending, ending, stub.answer(200, PERSON))

        profile = connect(attempts=3).api.profiles.get("01A")

        assert profile.id == "01A"
        assert len(stub.asked) == 3

    @pytest.mark.parametrize("ending", [hang_up, reset], ids=["closed", "reset"])
    def test_a_write_that_breaks_is_not_repeated(self, stub: Any, connect: Any, ending: Any) -> None:
        stub.says(ending)

        with pytest.raises(OutcomeUnknown):
            connect(attempts=3).api.events.create(b"{}")

        assert len(stub.asked) == 1

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 524])
    def test_a_write_answered_with_5xx_may_have_happened(self, stub: Any, connect: Any, status: int) -> None:
        stub.says(stub.answer(status, body=b"<html>bad gateway</html>"))

        with pytest.raises(OutcomeUnknown):
            connect().api.profiles.upsert({"email": "ada@example.com"})

    def test_a_report_is_a_read_although_it_is_a_post(self, stub: Any, connect: Any) -> None:
        stub.says(hang_up, stub.answer(200, {"data": {"attributes": {"results": [{"a": 1}]}}}))

        rows = list(connect(attempts=2).api.reporting.campaign_values(statistics=["opens"]))

        assert rows == [{"a": 1}]

    def test_a_refused_connection_was_never_sent_and_is_tried_again(self, connect: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        client = connect(attempts=3, host=f"http://127.0.0.1:{port}")

        with pytest.raises(Unavailable) as error:
            client.api.events.create(b"{}")

        assert not isinstance(error.value, OutcomeUnknown)
        assert len(client.recorder.calls) == 3


class TestTimeouts:
    """Trap 4: the SDK waits for ever."""

    @pytest.mark.parametrize("behaviour", [silence, trickle, trickle_headers], ids=["silence", "body", "headers"])
    def test_an_answer_has_a_deadline_as_a_whole(self, stub: Any, connect: Any, behaviour: Any) -> None:
        stub.says(behaviour)
        started = time.monotonic()

        with pytest.raises(Unavailable):
            connect(read=0.4).api.profiles.get("01A")

        assert time.monotonic() - started < 1.0

    def test_a_write_that_is_not_answered_may_have_happened(self, stub: Any, connect: Any) -> None:
        stub.says(silence)

        with pytest.raises(OutcomeUnknown):
            connect(read=0.2).api.events.create(b"{}")

    def test_a_connection_that_was_slow_is_not_used_again(self, stub: Any, connect: Any) -> None:
        stub.says(trickle, stub.answer(200, PERSON))
        client = connect(read=0.3)
        with pytest.raises(Unavailable):
            client.api.profiles.get("01A")

        assert client.api.profiles.get("01A").id == "01A"

    def test_a_kept_connection_gets_its_full_time_again(self, stub: Any, connect: Any) -> None:
        def slowly(_asked: Any, _connection: Any) -> bytes:
            time.sleep(0.2)
            return stub.answer(200, PERSON)

        stub.says(slowly)
        client = connect(read=0.35)

        for _ in range(3):
            assert client.api.profiles.get("01A").id == "01A"


class TestBodies:
    """Traps 1 and 5, and what the SDK's JSON does to size."""

    def test_fields_that_are_not_set_are_not_sent(self, stub: Any, connect: Any) -> None:
        stub.says(stub.answer(201, PERSON))

        connect().api.profiles.upsert({"email": "ada@example.com", "last_name": None})

        assert stub.asked[0].body == (
            b'{"data":{"type":"profile","attributes":{"email":"ada@example.com","last_name":null}}}'
        )

    @pytest.mark.parametrize(
        "body",
        [
            b'{"data":{"id":"J1","attributes":{"status":"a status of tomorrow"}}}',
            b'{"data":{"id":"J1","type":"unheard-of","attributes":{"status":null,"total_count":"many"}}}',
            b'{"data":{"id":"J1"}}',
        ],
        ids=["unknown status", "wrong types", "no attributes"],
    )
    def test_an_accepted_import_does_not_look_refused(self, stub: Any, connect: Any, body: bytes) -> None:
        stub.says(stub.answer(202, body=body))

        job = connect().api.profiles.bulk_import(b"{}")

        assert job.id == "J1"
        assert not job.finished

    @pytest.mark.parametrize("body", [b"", b"<html></html>", b'{"data":{"id":"J', b"[]"])
    def test_an_accepted_import_without_a_job_is_neither_done_nor_failed(
        self, stub: Any, connect: Any, body: bytes
    ) -> None:
        stub.says(stub.answer(202, body=body))

        with pytest.raises(OutcomeUnknown):
            connect().api.profiles.bulk_import(b"{}")

    @pytest.mark.parametrize(
        "body", [b"", b"<html></html>", b'{"data":[{"id":"J', b"[1]", b"\xff\xfe", b"{}", b'{"data":null}']
    )
    def test_a_page_that_is_no_document_is_a_passing_trouble(self, stub: Any, connect: Any, body: bytes) -> None:
        stub.says(stub.answer(200, body=body))

        with pytest.raises(Unavailable):
            connect().api.profiles.page()

    def test_one_strange_row_does_not_cost_the_page(self, stub: Any, connect: Any) -> None:
        rows = [
            {"type": "profile", "id": "01A", "attributes": {"email": None, "created": "", "first_name": 5}},
            {"type": "surprise", "id": "01B"},
            "nonsense",
            {"type": "profile", "id": "01C", "attributes": {"properties": [], "new_field": {"a": 1}}},
        ]
        stub.says(stub.answer(200, {"data": rows}))

        page = connect().api.profiles.page()

        assert [profile.id for profile in page.items] == ["01A", "01B", "01C"]
        assert page.items[2].attributes["new_field"] == {"a": 1}

    def test_a_202_without_a_body_is_fine(self, stub: Any, connect: Any) -> None:
        stub.says(stub.answer(202))

        connect().api.profiles.subscribe(b"{}")

        assert stub.asked[0].headers["content-type"] == "application/vnd.api+json"

    def test_a_delete_carries_its_body(self, stub: Any, connect: Any) -> None:
        stub.says(stub.answer(204))

        connect().api.lists.remove("L1", ["01A"])

        assert (stub.asked[0].method, stub.asked[0].body) == ("DELETE", b'{"data":[{"type":"profile","id":"01A"}]}')


class TestQueries:
    """Traps 2 and 6."""

    def test_the_cursor_goes_out_bare(self, stub: Any, connect: Any) -> None:
        following = f"{stub.url}/api/profiles?page%5Bcursor%5D=bmV4dA%2B%2F%3D%3D"
        stub.says(stub.answer(200, {"data": [], "links": {"next": following}}))
        client = connect()
        page = client.api.profiles.page()

        client.api.profiles.page(cursor=page.next_cursor)

        assert page.next_cursor == "bmV4dA+/=="
        assert "page%5Bcursor%5D=bmV4dA%2B/%3D%3D" in stub.asked[1].target

    def test_a_filter_keeps_whitespace_and_plus_signs(self, stub: Any, connect: Any) -> None:
        stub.says(stub.answer(200, EMPTY))

        connect().api.profiles.page(filter=filters.equals("email", "a+b c@example.com"))

        assert "filter=equals%28email%2C%22a%2Bb%20c%40example.com%22%29" in stub.asked[0].target

    @pytest.mark.parametrize("identifier", ["../lists", "a/b", "a?b#c", "ä"])
    def test_an_id_stays_inside_its_segment_of_the_path(self, stub: Any, connect: Any, identifier: str) -> None:
        stub.says(stub.answer(200, PERSON))

        connect().api.profiles.get(identifier)

        assert stub.asked[0].target.startswith("/api/profiles/")
        assert stub.asked[0].target.count("/") == 3
        assert "?" not in stub.asked[0].target

    @pytest.mark.parametrize("identifier", ["", ".", "..", "a\r\nX: y", "a\x00"])
    def test_an_id_that_would_change_the_path_is_refused(self, stub: Any, connect: Any, identifier: str) -> None:
        with pytest.raises(InvalidPayload):
            connect().api.profiles.get(identifier)

        assert stub.asked == []

    def test_a_page_larger_than_klaviyos_largest_is_refused_here(self, connect: Any) -> None:
        with pytest.raises(InvalidPayload):
            connect().api.profiles.page(size=101)

    def test_a_cursor_that_repeats_ends_the_walk(self, stub: Any, connect: Any) -> None:
        stub.says(stub.answer(200, {"data": [{"id": "L"}], "links": {"next": "https://x/?page%5Bcursor%5D=same"}}))

        assert len(list(connect().api.lists.all())) == 2


class TestHostileAnswers:
    def test_a_redirect_is_not_followed(self, stub: Any, connect: Any) -> None:
        stub.says(stub.answer(302, headers={"Location": f"{stub.url}/evil"}))

        with pytest.raises(Unavailable):
            connect().api.profiles.get("01A")

        assert len(stub.asked) == 1

    def test_gzip_is_asked_for_and_read(self, stub: Any, connect: Any) -> None:
        stub.says(stub.answer(200, body=gzip.compress(b'{"data":{"id":"01A"}}'), headers={"Content-Encoding": "gzip"}))

        assert connect().api.profiles.get("01A").id == "01A"
        assert "gzip" in stub.asked[0].headers["accept-encoding"]

    def test_a_gzip_bomb_is_not_unpacked(self, stub: Any, connect: Any) -> None:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(300)) + packer.flush()
        stub.says(stub.answer(200, body=bomb, headers={"Content-Encoding": "gzip"}))

        with pytest.raises(Unavailable):
            connect().api.profiles.get("01A")

    def test_an_endless_error_body_is_cut(self, stub: Any, connect: Any) -> None:
        def endless(_asked: Any, connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 400 X\r\nContent-Length: 100000000\r\n\r\n")
            for _ in range(1_000):
                connection.sendall(b"x" * 100_000)

        stub.says(endless)

        with pytest.raises(Unavailable):
            connect().api.profiles.get("01A")

    def test_an_error_cut_short_still_tells_its_status(self, stub: Any, connect: Any) -> None:
        def cut(_asked: Any, connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 401 X\r\nContent-Length: 500\r\n\r\n")

        stub.says(cut)

        with pytest.raises(NotAuthorized):
            connect().api.profiles.get("01A")

    def test_garbage_instead_of_http_is_no_answer(self, stub: Any, connect: Any) -> None:
        stub.says(b"\x16\x03\x01 what is this\r\n\r\n")

        with pytest.raises(OutcomeUnknown):
            connect().api.events.create(b"{}")

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"data":[]}', b'{"data":null}'])
    def test_a_resource_that_is_none_is_a_passing_trouble(self, stub: Any, connect: Any, body: bytes) -> None:
        stub.says(stub.answer(200, body=body))

        with pytest.raises(Unavailable):
            connect().api.profiles.import_job("J1")

    def test_a_host_that_speaks_no_tls_gets_nothing(self, stub: Any, connect: Any) -> None:
        stub.says(b"HTTP/1.1 400 X\r\n\r\n")

        with pytest.raises(Unavailable) as error:
            connect(host=stub.url.replace("http:", "https:")).api.events.create(b"{}")

        assert not isinstance(error.value, OutcomeUnknown)
        assert all(b"canary" not in asked.body for asked in stub.asked)


class TestSecrecy:
    def test_no_error_and_no_repr_holds_the_key_or_a_person(self, stub: Any, connect: Any) -> None:
        detail = "'ada@example.com' is not valid: +15005550006 or ada@example.com, Lovelace"
        document = {"errors": [{"code": "invalid", "title": "Invalid input.", "detail": detail, "id": "e"}]}
        stub.says(stub.answer(400, document))
        client = connect()

        with pytest.raises(InvalidPayload) as error:
            client.api.profiles.page(filter=filters.equals("email", PERSON["data"]["attributes"]["email"]))

        told = "".join(traceback.format_exception(error.value)) + repr(error.value.problems) + repr(client.session)
        told += repr(vars(client.session))
        for secret in ("canary", "ada@", "1500555", "Lovelace"):
            assert secret not in told

    def test_a_broken_call_does_not_tell_its_url(self, stub: Any, connect: Any) -> None:
        stub.says(hang_up)

        with pytest.raises(Unavailable) as error:
            connect().api.profiles.page(filter=filters.equals("email", PERSON["data"]["attributes"]["email"]))

        assert "ada@" not in "".join(traceback.format_exception(error.value, chain=True))

    def test_the_key_travels_in_its_own_scheme(self, stub: Any, connect: Any) -> None:
        stub.says(stub.answer(200, PERSON))

        connect().api.profiles.get("01A")

        assert stub.asked[0].headers["authorization"] == "Klaviyo-API-Key pk_canary_0123456789"
        assert stub.asked[0].headers["revision"] == "2026-07-15"

    @pytest.mark.parametrize(
        "host", ["http://a.klaviyo.com", "ftp://127.0.0.1", "a.klaviyo.com", "https://", "https://u:p@x"]
    )
    def test_the_key_is_not_sent_in_the_clear_beyond_this_machine(self, connect: Any, host: str) -> None:
        with pytest.raises(ConfigError):
            connect(host=host)


class TestLimits:
    def test_a_429_pauses_that_operation_only(self, stub: Any, connect: Any) -> None:
        stub.says(stub.answer(429, headers={"Retry-After": "30"}), stub.answer(200, EMPTY))
        client = connect()
        with pytest.raises(RateLimited):
            client.api.profiles.page()

        with pytest.raises(RateLimited) as again:
            client.session.call("get_profiles", deadline=0.05)
        client.api.events.page()

        assert again.value.retry_after == pytest.approx(30, abs=1)
        assert len(stub.asked) == 2
        assert client.recorder.throttles == [("get_profiles", 30.0)]

    @pytest.mark.parametrize("value", ["garbage", "-5", "0", "Wed, 21 Oct 2099 07:28:00 GMT", "1e309", "nan", ""])
    def test_a_strange_retry_after_is_survived(self, stub: Any, connect: Any, value: str) -> None:
        stub.says(stub.answer(429, headers={"Retry-After": value}))

        with pytest.raises(RateLimited):
            connect().api.profiles.page()

    def test_a_lower_limit_in_the_headers_is_kept(self, stub: Any, connect: Any) -> None:
        stub.says(stub.answer(200, EMPTY, headers={"RateLimit-Limit": "75, 75;w=1, 75;w=60"}))
        client = connect()
        client.api.profiles.page()
        client.api.profiles.page()

        with pytest.raises(RateLimited):
            client.session.call("get_profiles", deadline=0.05)


class TestBreaker:
    def test_opens_after_failures_and_sends_nothing_more(self, stub: Any, connect: Any) -> None:
        stub.says(stub.answer(500))
        client = connect(failures=3)
        for _ in range(3):
            with pytest.raises(Unavailable):
                client.api.profiles.get("01A")

        with pytest.raises(CircuitOpen) as error:
            client.api.profiles.get("01A")

        assert len(stub.asked) == 3
        assert error.value.retry_after == pytest.approx(15, abs=1)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429])
    def test_answers_that_show_life_do_not_open_it(self, stub: Any, connect: Any, status: int) -> None:
        stub.says(stub.answer(status, {"errors": []}))
        client = connect(failures=2)

        for index in range(4):
            with pytest.raises(BridgeError) as error:
                client.session.call("get_profile" if index else "get_list", path={"id": "x"}, deadline=0.01)

            assert not isinstance(error.value, CircuitOpen)

    def test_a_retired_revision_stops_the_calls_and_condemns_no_row(self, stub: Any, connect: Any) -> None:
        stub.says(stub.answer(410, {"errors": [{"code": "gone", "title": "Gone."}]}))
        client = connect(failures=5)

        for _ in range(30):
            with pytest.raises(Unavailable):
                client.api.events.create(b"{}")

        assert len(stub.asked) == 5


def test_the_recorder_hears_of_each_request(stub: Any, connect: Any) -> None:
    stub.says(hang_up, stub.answer(404, {"errors": []}))
    client = connect(attempts=2)

    with pytest.raises(NotFound):
        client.api.profiles.get("01A")

    assert client.recorder.calls == [("get_profile", None), ("get_profile", 404)]


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (ApiClient.param_serialize, SERIALIZE),
        (ApiClient.call_api, "self method url header_params body post_params _request_timeout"),
        (RESTClientObject.request, "self method url headers body post_params _request_timeout"),
        (ApiException.from_response, "http_resp body data"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_the_sdk_still_has_the_seams_we_hold(function: Any, parameters: str) -> None:
    assert list(inspect.signature(function).parameters) == parameters.split()
