"""HTTP as attackers and slow clients speak it: raw sockets against the gateway (reliability table 2.2 and what follows from it)."""
import http.client
import json
import socket
import time

import pytest
from denizen import Client, eventually
from helpers import address, good, head, new_user, refused, total


@pytest.fixture(scope="module")
def target(suite):
    client = suite.new_project("http")
    client.user = new_user(client)
    yield client
    client.close()


def converse(port, data, pieces=(), timeout=5.0):
    """Sends bytes, waits for the end of the connection or of patience; returns all that came back and whether it was closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        received = b""
        try:
            connection.sendall(data)
            for pause, piece in pieces:
                time.sleep(pause)
                connection.sendall(piece)
        except OSError:
            pass  # the answer came before the end of the request
        connection.settimeout(0.4)
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            try:
                part = connection.recv(65536)
            except TimeoutError:
                if received:
                    return received, False
                continue
            except ConnectionError:
                return received, True
            if not part:
                return received, True
            received += part
        return received, False


def statuses(received):
    """The status of each answer in a stream of answers."""
    found = []
    while received.startswith(b"HTTP/1."):
        head_end = received.find(b"\r\n\r\n")
        assert head_end > 0, received
        lines = received[:head_end].decode("latin1").split("\r\n")
        headers = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines[1:]}
        found.append(int(lines[0].split()[1]))
        received = received[head_end + 4 + (int(headers.get("content-length", 0)) if found[-1] >= 200 else 0):]
    assert not received, received
    return found


def request(line, headers, body=b"", end=b"\r\n"):
    return end.join([line, *headers]) + end + end + body


def headers_of(target, *more):
    return [b"Host: localhost", b"Authorization: Bearer " + target.key.encode(), *more]


SMUGGLED = b"DELETE /v1/users/%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n"
USER = b'{"email":"smuggled@example.com"}'
POST = b"POST /v1/users HTTP/1.1"
JSON = b"Content-Type: application/json"
LENGTH = b"Content-Length: %d" % len(USER)


def smuggling(smuggled):
    """name: headers beside Host, key and type; body; accepted statuses. In all of them `smuggled` stands where a second request might begin."""
    chunked = b"0\r\n\r\n" + smuggled
    return {
        "length and chunked": ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], chunked, {400, 411}),
        "chunked and length": ([b"Transfer-Encoding: chunked", b"Content-Length: 5"], chunked, {400, 411}),
        "chunked": ([b"Transfer-Encoding: chunked"], b"%x\r\n%s\r\n0\r\n\r\n" % (len(USER), USER) + smuggled, {201}),
        "chunked with a length in the trailer": ([b"Transfer-Encoding: chunked"], b"%x\r\n%s\r\n0\r\nContent-Length: 5\r\n\r\n" % (len(USER), USER) + smuggled, {201}),
        "chunk size with a carriage return": ([b"Transfer-Encoding: chunked"], b"5\r0\r\n%s\r\n0\r\n\r\n" % USER + smuggled, {400}),
        "chunk longer than its size": ([b"Transfer-Encoding: chunked"], b"5\r\n%s\r\n0\r\n\r\n" % USER + smuggled, {400}),
        "chunk of 2^64-1": ([b"Transfer-Encoding: chunked"], b"ffffffffffffffff\r\n%s\r\n0\r\n\r\n" % USER + smuggled, {400}),
        "chunk lines without carriage return": ([b"Transfer-Encoding: chunked"], b"%x\n%s\n0\n\n" % (len(USER), USER) + smuggled, {400}),
        "te identity": ([b"Transfer-Encoding: identity", LENGTH], USER + smuggled, {400, 411, 501}),
        "te xchunked": ([b"Transfer-Encoding: xchunked"], chunked, {400, 411, 501}),
        "te chunked with a blank": ([b"Transfer-Encoding : chunked", LENGTH], USER + smuggled, {400, 411}),
        "te in the value of another": ([b"X: a\r\n Transfer-Encoding: chunked", LENGTH], USER + smuggled, {400}),
        "te upper case": ([b"TRANSFER-ENCODING: CHUNKED"], chunked, {400, 411, 501}),
        "te twice": ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"], chunked, {400, 411, 501}),
        "two lengths": ([b"Content-Length: 5", b"Content-Length: 40"], smuggled, {400}),
        "two equal lengths": ([LENGTH, LENGTH], USER, {400}),
        "length +5": ([b"Content-Length: +5"], smuggled, {400}),
        "length 5abc": ([b"Content-Length: 5abc"], smuggled, {400}),
        "length 5,5": ([b"Content-Length: 5,5"], smuggled, {400}),
        "length 0x5": ([b"Content-Length: 0x5"], smuggled, {400}),
        "length -5": ([b"Content-Length: -5"], smuggled, {400, 411}),
        "length empty": ([b"Content-Length:"], smuggled, {400, 411}),
        "length 5 5": ([b"Content-Length: 5 5"], smuggled, {400}),
        "length with a point": ([b"Content-Length: 5.0"], smuggled, {400}),
        "length huge": ([b"Content-Length: 99999999999999999999"], smuggled, {400, 413}),
        "length 2^64+5": ([b"Content-Length: 18446744073709551621"], smuggled, {400, 413}),
        "length with a blank": ([b"Content-Length : %d" % len(USER)], USER + smuggled, {400}),
        "length folded": ([b"Content-Length:\r\n 5"], smuggled, {400, 411}),
        "length after 64 headers": ([b"X-%d: x" % i for i in range(64)] + [LENGTH], USER + smuggled, {400, 431}),
        "folded header": ([b"X: a\r\n b", LENGTH], USER + smuggled, {400}),
        "tab folded header": ([b"X: a\r\n\tb", LENGTH], USER + smuggled, {400}),
        "bare line feed": ([b"X: a\nY: b", LENGTH], USER + smuggled, {400}),
        "bare carriage return": ([b"X: a\rY: b", LENGTH], USER + smuggled, {400}),
        "nul in a header": ([b"X: a\0b", LENGTH], USER + smuggled, {400}),
        "header without a name": ([b": x", LENGTH], USER + smuggled, {400}),
        "header without a colon": ([b"no colon", LENGTH], USER + smuggled, {400}),
        "blank in a header name": ([b"X Y: z", LENGTH], USER + smuggled, {400}),
        "length under another name": ([b"Content_Length: 5", LENGTH], USER, {201, 400}),
        "two keys": ([b"Authorization: Bearer x", LENGTH], USER + smuggled, {400}),
        "two hosts": ([b"Host: other", LENGTH], USER + smuggled, {400}),
        "two types": ([b"Content-Type: text/plain", LENGTH], USER + smuggled, {400}),
        "expect something": ([b"Expect: miracles", LENGTH], USER + smuggled, {400, 417}),
    }


@pytest.mark.parametrize("name", smuggling(b""))
def test_two_readings_of_one_request_are_refused(suite, target, name):
    victim = new_user(target)
    smuggled = SMUGGLED % (victim["id"].encode(), target.key.encode())
    headers, body, accepted = smuggling(smuggled)[name]
    suite.settle()
    before = total(target), head(target)
    received, closed = converse(suite.port, request(POST, headers_of(target, JSON, *headers), body))
    answers = statuses(received)
    assert len(answers) == 1 and answers[0] in accepted, received
    assert good(target.get("/v1/users/" + victim["id"]))["id"] == victim["id"], "the smuggled request was executed"
    if answers[0] != 201:
        assert closed, "the connection must end after a refusal"
        suite.settle()
        assert (total(target), head(target)) == before
        document = json.loads(received.split(b"\r\n\r\n", 1)[1])
        assert document["status"] == answers[0] and document["type"].startswith("urn:denizen:error:")
    else:
        good(target.delete("/v1/users/" + target.get("/v1/users?search=smuggled@").json["data"][0]["id"]), 204)


LINES = {
    "no version": (b"GET /healthz", {400}), "version 0.9": (b"GET /healthz HTTP/0.9", {400, 505}), "version 2.0": (b"GET /healthz HTTP/2.0", {400, 505}),
    "version 1.10": (b"GET /healthz HTTP/1.10", {400, 505}), "lower case version": (b"GET /healthz http/1.1", {400}),
    "two blanks": (b"GET  /healthz HTTP/1.1", {400}), "tab": (b"GET\t/healthz HTTP/1.1", {400}), "blank in the path": (b"GET /health z HTTP/1.1", {400}),
    "no target": (b"GET HTTP/1.1", {400}), "asterisk": (b"GET * HTTP/1.1", {None, 400, 404}), "no slash": (b"GET healthz HTTP/1.1", {400}),
    "trace": (b"TRACE /healthz HTTP/1.1", {400, 405, 501}), "connect": (b"CONNECT localhost:80 HTTP/1.1", {400, 405, 501}), "made-up verb": (b"FOO /healthz HTTP/1.1", {400, 405, 501}),
    "options": (b"OPTIONS /healthz HTTP/1.1", {400, 405, 501}), "lower case verb": (b"get /healthz HTTP/1.1", {400, 405, 501}), "propfind": (b"PROPFIND / HTTP/1.1", {400, 405, 501}),
    "encoded nul": (b"GET /healthz%00x HTTP/1.1", {400}), "encoded line end": (b"GET /healthz%0d%0aX:%20y HTTP/1.1", {400}), "encoded slash": (b"GET /v1%2fusers HTTP/1.1", {400}),
    "encoded backslash": (b"GET /v1%5cusers HTTP/1.1", {400}), "backslash": (b"GET /v1\\users HTTP/1.1", {400}), "two slashes": (b"GET /v1//users HTTP/1.1", {400}),
    "dot segment": (b"GET /v1/./users HTTP/1.1", {400}), "dot dot segment": (b"GET /v1/x/../users HTTP/1.1", {400}), "encoded dots": (b"GET /v1/%2e%2e/admin%2fx HTTP/1.1", {400}),
    "half encoded dots": (b"GET /v1/.%2E/users HTTP/1.1", {400}), "semicolon": (b"GET /v1/users;x=1 HTTP/1.1", {400}), "dots semicolon": (b"GET /v1/..;/users HTTP/1.1", {400}),
    "fragment": (b"GET /v1/users#x HTTP/1.1", {400}), "broken encoding": (b"GET /v1/users/%zz HTTP/1.1", {400}), "cut encoding": (b"GET /v1/users/%2 HTTP/1.1", {400}),
    "overlong utf-8": (b"GET /v1/users/%c0%af HTTP/1.1", {400}), "raw byte": (b"GET /v1/users/\xff HTTP/1.1", {400}), "control byte": (b"GET /v1/users/\x01 HTTP/1.1", {400}),
    "double encoding": (b"GET /v1/users/%252e%252e HTTP/1.1", {404}), "etc passwd": (b"GET /../../etc/passwd HTTP/1.1", {400}), "long path": (b"GET /" + b"a" * 9000 + b" HTTP/1.1", {400, 414, 431}),
    "long query": (b"GET /v1/users?search=" + b"a" * 9000 + b" HTTP/1.1", {400, 414, 431}), "line feed only": (b"GET /healthz HTTP/1.1\nHost: x\n\n", {400}),
}


@pytest.mark.parametrize("name", LINES)
def test_a_malformed_request_line_is_refused(suite, target, name):
    line, accepted = LINES[name]
    received, closed = converse(suite.port, request(line, headers_of(target)) + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answers = statuses(received)
    assert (answers or [None])[0] in accepted, received
    if name not in ("double encoding", "overlong utf-8"):  # well-formed HTTP that only names nothing
        assert len(answers) <= 1 and closed, received
    assert b"root:" not in received


def test_blanks_around_a_value_are_none_of_it(suite, target):
    for blanks in (b" ", b"    "):
        headers = [b"Host: localhost" + blanks, b"Authorization: Bearer " + target.key.encode() + blanks, JSON + blanks,
                   b"Content-Length: 2" + blanks, b"Connection:   close" + blanks]
        received, closed = converse(suite.port, request(b"POST /v1/users/lookup HTTP/1.1", headers, b"{}"))
        assert statuses(received) == [200] and closed, (blanks, received)


HOSTS = {"none": [], "empty": [b"Host:"], "two": [b"Host: a", b"Host: b"], "blank inside": [b"Host: a b"], "userinfo": [b"Host: u@a"], "path": [b"Host: a/b"],
         "list": [b"Host: a, b"]}


@pytest.mark.parametrize("name", HOSTS)
def test_a_request_needs_one_host(suite, name):
    received, closed = converse(suite.port, request(b"GET /healthz HTTP/1.1", HOSTS[name]))
    assert statuses(received) == [400] and closed


def test_an_absolute_target_of_this_host_is_served(suite, target):
    host = b"localhost:%d" % suite.port
    received, _ = converse(suite.port, request(b"GET http://" + host + b"/v1/users?limit=1 HTTP/1.1", [b"Host: " + host, *headers_of(target)[1:]]))
    assert statuses(received) == [200]
    received, closed = converse(suite.port, request(b"GET http://" + host + b"/v1/users HTTP/1.1", headers_of(target)))
    assert statuses(received) == [400] and closed


def test_an_absolute_target_of_another_host_is_not_served_blindly(suite):
    received, _ = converse(suite.port, request(b"GET http://other.example/healthz HTTP/1.1", [b"Host: localhost"]), timeout=2)
    assert not received or statuses(received)[0] in (200, 400, 404, 421)


UNANSWERED = {"asterisk": b"OPTIONS * HTTP/1.1", "another host": b"GET http://other.example/healthz HTTP/1.1", "this host, another port": b"GET http://localhost/healthz HTTP/1.1"}
UNPARSED = {"verb": b"FOO /healthz HTTP/1.1", "version": b"GET /healthz HTTP/2.0", "tls": b"\x16\x03\x01\x01\x00"}


@pytest.mark.parametrize("name", [*UNANSWERED, *UNPARSED])
def test_what_never_becomes_a_request_is_answered_like_any_refusal(suite, name):
    """The HTTP server itself drops some of these without a word."""
    received, closed = converse(suite.port, request({**UNANSWERED, **UNPARSED}[name], [b"Host: localhost"]))
    assert statuses(received) == [400] and closed
    top, body = received.decode().split("\r\n\r\n", 1)
    document = json.loads(body)
    assert document["code"] == "malformed_request" and len(document["request_id"]) == 32
    lines = top.lower().split("\r\n")
    assert {"cache-control: no-store", "x-content-type-options: nosniff", "connection: close", "content-type: application/problem+json",
            "x-request-id: " + document["request_id"]} <= set(lines)


def test_too_large_headers_are_refused(suite, target):
    for headers in ([b"X: " + b"a" * 20000], [b"X-%d: x" % i for i in range(70)], [b"Cookie: " + b"a" * 17000]):
        received, closed = converse(suite.port, request(b"GET /healthz HTTP/1.1", headers_of(target, *headers)))
        assert statuses(received) == [431] and closed


def test_pipelined_requests_are_answered_in_order(suite, target):
    first = request(b"GET /v1/users/" + target.user["id"].encode() + b" HTTP/1.1", headers_of(target))
    last = request(b"GET /healthz HTTP/1.1", [b"Host: localhost", b"Connection: close"])
    received, closed = converse(suite.port, first + first + last)
    assert statuses(received) == [200, 200, 200] and closed


def test_a_refusal_in_a_pipeline_ends_it(suite, target):
    bad = request(POST, headers_of(target, JSON, b"Content-Length: 5", b"Content-Length: 6"), b"{}   ")
    received, closed = converse(suite.port, bad + request(b"GET /healthz HTTP/1.1", [b"Host: localhost"]))
    assert statuses(received) == [400] and closed


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("options", [None, b"close", b"keep-alive", b"Upgrade, HTTP2-Settings", b"upgrade", b"TE", b"Upgrade, Keep-Alive", b"x-keep-alive", b"close, keep-alive", b""])
def test_the_end_of_a_connection_is_announced(suite, version, options):
    """Whatever the client says of the connection: what the answer says is what happens. Java's client offers HTTP/2 by an Upgrade."""
    headers = [b"Host: localhost"] + ([b"Connection: " + options] if options is not None else [])
    received, closed = converse(suite.port, request(b"GET /healthz HTTP/" + version, headers), timeout=1.5)
    assert statuses(received) == [200] and (b"connection: close" in received.lower()) is closed, (received, closed)
    if options in (None, b"close", b"keep-alive"):
        assert closed is (options == b"close" or options is None and version == b"1.0"), "RFC 9112 section 9.3"


# ---- Expect, HEAD


def test_a_client_that_expects_100_continue_gets_it(suite, target):
    body = b'{"email":"%s"}' % address().encode()
    head_of_request = request(POST, headers_of(target, JSON, b"Content-Length: %d" % len(body), b"Expect: 100-continue", b"Connection: close"))
    with socket.create_connection(("127.0.0.1", suite.port), timeout=5) as connection:
        connection.sendall(head_of_request)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        received = b""
        while part := connection.recv(65536):
            received += part
    assert statuses(received) == [201]


def test_bodies_may_be_chunked(suite, target):
    """As clients send that do not know the length before; an import is streamed so."""
    def chunks(*parts):
        return b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nX-Trailer: z\r\n\r\n"

    chunked = b"Transfer-Encoding: chunked"
    user = b'{"email":"%s"}' % address().encode()
    received, closed = converse(suite.port, request(POST, headers_of(target, JSON, chunked), chunks(user[:7], user[7:])))
    assert statuses(received) == [201] and closed
    lines = [b'{"email":"%s"}\n' % address().encode() for _ in range(2000)]
    whole = b"".join(lines)
    received, closed = converse(suite.port, request(b"POST /v1/users/import HTTP/1.1", headers_of(target, chunked, b"Content-Type: application/x-ndjson"),
                                                    chunks(*(whole[i:i + 999] for i in range(0, len(whole), 999)))), timeout=20)
    assert received.startswith(b"HTTP/1.1 200") and received.count(b'"id"') == 2000 and closed
    for version, more in ((b"1.0", []), (b"1.1", [b"Content-Length: 5"])):
        received, closed = converse(suite.port, request(b"POST /v1/users HTTP/" + version, headers_of(target, JSON, chunked, *more), chunks(user)))
        assert statuses(received) == [400] and closed
    received, closed = converse(suite.port, request(POST, headers_of(target, JSON, chunked), chunks(*[b" " * 65536] * 17)))
    assert statuses(received) == [413] and closed


def test_a_refusal_comes_before_the_body_is_sent(suite, target):
    for headers, status in (([b"Host: localhost"], 401), (headers_of(target, b"Content-Length: 2000000"), 413)):
        lines = [*headers, JSON, b"Expect: 100-continue"] + ([b"Content-Length: 20"] if status == 401 else [])
        received, closed = converse(suite.port, request(POST, lines))
        assert statuses(received) == [status] and closed


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/v1/users", "/v1/users/{id}", "/v1/users/export", "/v1/events", "/nothing", "/metrics"])
def test_head_is_get_without_a_body(suite, target, path):
    connection = http.client.HTTPConnection("127.0.0.1", suite.port, timeout=10)
    answers = []
    for method in ("HEAD", "GET"):
        connection.request(method, path.format(**target.user), headers=target.headers())
        reply = connection.getresponse()
        answers.append((reply.status, reply.getheader("Content-Type"), len(reply.read())))
    connection.close()
    assert answers[0][:2] == answers[1][:2] and answers[0][2] == 0 and answers[1][2] > 0 or path.endswith("export"), answers


def test_head_of_a_stream_names_no_length(suite, target):
    """A length of 0 would be that of the answer to GET (RFC 9110 section 9.3.2)."""
    received, _ = converse(suite.port, request(b"HEAD /v1/users/export HTTP/1.1", headers_of(target)))
    assert received.startswith(b"HTTP/1.1 200") and b"content-length" not in received.lower() and received.endswith(b"\r\n\r\n")
    received, _ = converse(suite.port, request(b"HEAD /v1/users/export HTTP/1.1", headers_of(target)) + request(b"GET /healthz HTTP/1.1", [b"Host: localhost"]))
    assert received.count(b"HTTP/1.1 200") == 2, received


def test_what_shows_people_is_not_stored_by_caches(suite, target):
    for reply in (target.get("/v1/users"), target.get("/v1/users/usr_x"), target.post("/v1/users", {})):
        assert reply.headers["cache-control"] == "no-store" and reply.headers["x-content-type-options"] == "nosniff"
        assert "server" not in reply.headers


def test_the_served_description_is_the_committed_one(suite):
    import denizen
    reply = Client(suite.port).get("/openapi.json")
    assert reply.status == 200 and reply.json == denizen.OPENAPI


def test_a_request_id_is_made_unless_it_is_well_formed(target):
    for trace in ("x", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "00-0AF7651916CD43DD8448EB211C80319G-b7ad6b7169203331-01", "a" * 10000):
        reply = target.get("/v1/users", headers={"traceparent": trace, "X-Request-Id": "mine"})
        assert len(reply.headers["x-request-id"]) == 32 and reply.headers["x-request-id"] not in trace.lower()


def test_two_traces_are_none(suite):
    """Information of a device or a proxy is never a reason to refuse."""
    one, two = (b"traceparent: 00-%s-b7ad6b7169203331-01" % (digit * 32) for digit in (b"1", b"2"))
    received, _ = converse(suite.port, request(b"GET /healthz HTTP/1.1", [b"Host: localhost", one, two]))
    assert statuses(received) == [200] and b"1" * 32 not in received and b"2" * 32 not in received


# ---- slow and many


def test_a_slow_body_is_cut_off_and_disturbs_nobody(suite, target):
    """A byte every 200 ms is too slow a pace; the connection ends after 10 s (waited for in parallel with nothing else)."""
    started = time.monotonic()
    slow = []
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", suite.port), timeout=30)
        connection.sendall(request(POST, headers_of(target, JSON, b"Content-Length: 1000")) + b'{"')
        slow.append(connection)
    before = total(target)
    latencies, open_connections = [], set(slow)
    while open_connections and time.monotonic() - started < 20:
        for connection in list(open_connections):
            try:
                connection.sendall(b" ")
                connection.setblocking(False)
                try:
                    if connection.recv(4096) is not None:
                        open_connections.discard(connection)
                except BlockingIOError:
                    pass
                connection.setblocking(True)
            except OSError:
                open_connections.discard(connection)
        asked = time.monotonic()
        assert target.get("/v1/users/" + target.user["id"]).status == 200
        latencies.append(time.monotonic() - asked)
        time.sleep(0.2)
    took = time.monotonic() - started
    for connection in slow:
        connection.close()
    assert not open_connections and 8 < took < 15, (len(open_connections), took)
    assert sorted(latencies)[len(latencies) // 2] < 0.25 and total(target) == before


def test_a_slow_but_steady_import_is_taken_and_a_stalled_one_is_told(suite, target):
    """Slower than the 64 KiB in 30 s that were once asked for, for longer than any time-out; and one that stalls."""
    lines = [b'{"email":"%s"}\n' % address().encode() for _ in range(75)]
    length = b"Content-Length: %d" % max(sum(map(len, lines)), 2000000)
    kind = b"Content-Type: application/x-ndjson"
    padding = b" " * (2000000 - sum(map(len, lines)) - 1) + b"\n"
    steady, stalled = (socket.create_connection(("127.0.0.1", suite.port), timeout=60) for _ in range(2))
    with steady, stalled:
        for connection in (steady, stalled):
            connection.sendall(request(b"POST /v1/users/import HTTP/1.1", headers_of(target, kind, length, b"Connection: close")))
        for line in lines:
            steady.sendall(line)
            time.sleep(0.5)
        received = b""
        while part := stalled.recv(65536):
            received += part
        assert statuses(received) == [408]
        steady.sendall(padding)
        received = b""
        while part := steady.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 200") and received.count(b'"id"') == 75, received[:2000]


def test_a_body_that_ends_early_changes_nothing(suite, target):
    before = total(target)
    with socket.create_connection(("127.0.0.1", suite.port), timeout=5) as connection:
        connection.sendall(request(POST, headers_of(target, JSON, b"Content-Length: 1000"), b'{"email":"cut@example.com"}'))
        connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionError:
            pass
    assert not received or statuses(received) == [400]
    assert total(target) == before


def test_a_thousand_idle_connections_leave_room_for_the_next(suite, target):
    idle = []
    try:
        for _ in range(1000):
            connection = socket.create_connection(("127.0.0.1", suite.port), timeout=10)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            idle.append(connection)
        for connection in idle:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        for _ in range(5):
            fresh = Client(suite.port, key=target.key)
            asked = time.monotonic()
            assert fresh.get("/v1/users/" + target.user["id"]).status == 200
            assert time.monotonic() - asked < 1
            fresh.close()
        for connection in idle[::100]:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    finally:
        for connection in idle:
            connection.close()
    eventually(lambda: Client(suite.port).get("/healthz").status == 200)


@pytest.mark.parametrize("said", [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"", b"GET /healthz HTTP/1.1\r\nHo"])
def test_more_connections_than_places_keep_nobody_out(suite, target, said):
    """All of one address: those of them that idle are closed, so that there is always room for the next."""
    idle = []
    try:
        for _ in range(1500):
            connection = socket.create_connection(("127.0.0.1", suite.port), timeout=10)
            connection.sendall(said)
            idle.append(connection)
        for client in (Client(suite.port), Client(suite.port, key=target.key)):
            asked = time.monotonic()
            assert client.get("/healthz").status == 200 and client.get("/v1/users").status in (200, 401)
            assert client.get("/metrics").body.count(b'denizen_http_connections_ended_total{') == 2
            assert time.monotonic() - asked < 2
            client.close()
    finally:
        for connection in idle:
            connection.close()
    eventually(lambda: Client(suite.port).get("/healthz").status == 200)


def test_a_half_sent_request_does_not_hold_others(suite, target):
    half = [socket.create_connection(("127.0.0.1", suite.port), timeout=5) for _ in range(50)]
    try:
        for connection in half:
            connection.sendall(b"GET /v1/users HTTP/1.1\r\nHost: loc")
        asked = time.monotonic()
        assert target.get("/v1/users").status == 200 and time.monotonic() - asked < 1
    finally:
        for connection in half:
            connection.close()


def test_a_forwarded_address_is_not_believed_from_strangers(suite, target):
    """Wrong keys are limited by client address: X-Forwarded-For of an untrusted peer must not give a fresh allowance."""
    refused(Client(suite.port).get("/v1/users", headers={"X-Forwarded-For": "203.0.113.1, 10.0.0.1"}), 401, "unauthenticated")
    assert target.get("/v1/users", headers={"X-Forwarded-For": "not an address\t"}).status in (200, 400)


def test_health_needs_no_key(suite):
    nobody = Client(suite.port)
    assert nobody.get("/healthz").status == 200 and nobody.get("/readyz").status == 200
    metrics = nobody.get("/metrics")
    assert metrics.status == 200 and b"denizen_http_request_seconds_bucket" in metrics.body
    for line in metrics.body.decode().splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) >= 0, line
