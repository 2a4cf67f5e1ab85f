"""Bodies and connections that mean no good, and clients that mean well in their own spelling."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import zstandard

from vortex.server import patience
from vortex.server.bodies import reading

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "x"}]
MANY = 2_000_000
HEAD = b'{"messages":[{"role":"user","content":"x"}],'
BODIES = {
    "lists": ("/v1/completions", b'{"prompt":[' + b"[]," * MANY + b"[]]}"),
    "tools": (CHAT, HEAD + b'"tools":[' + b"{}," * MANY + b"{}]}"),
    "parts": (CHAT, b'{"messages":[{"role":"user","content":[' + b"1," * MANY + b"1]}]}"),
    "keys": (CHAT, HEAD + b",".join(b'"k%d":1' % i for i in range(600_000)) + b"}"),
    "wrong lists": ("/v1/completions", b'{"prompt":[' + b"[]," * 90_000 + b"[]]}"),
    "wrong tools": (CHAT, HEAD + b'"tools":[' + b"{}," * 90_000 + b"{}]}"),
    "wrong parts": (CHAT, b'{"messages":[{"role":"user","content":[' + b"{}," * 90_000 + b"{}]}]}"),
    "biases": (CHAT, HEAD + b'"logit_bias":{' + b",".join(b'"k%d":"x"' % i for i in range(150_000)) + b"}}"),
}


def post(client: httpx.Client, path: str, body: bytes | dict, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, content=content, headers={"Content-Type": "application/json", **headers})


@pytest.mark.parametrize("name", BODIES)
def test_a_body_of_many_things_is_refused_and_costs_little(plain: httpx.Client, name: str) -> None:
    path, body = BODIES[name]
    before_bytes = resident_bytes()
    response = post(plain, path, body)
    assert response.status_code == 400, response.text
    assert len(response.content) < 500, "the first thing that is wrong, and no list"
    assert resident_bytes() - before_bytes < 300 * 2**20


@pytest.mark.parametrize(
    ("text", "members"),
    [
        (b'{"a": [1, 2]}', 3),
        (rb'{"a,[{": "\",[{"}', 1),
        (rb'{"a": "\\", "b": "x,\\\","}', 2),
        (rb'["\u005c", "\\"]', 2),
        ('["é,[", 1]'.encode(), 2),
    ],
)
def test_members_are_counted_outside_of_strings(text: bytes, members: int) -> None:
    assert reading._members(text) == members


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def test_a_long_text_full_of_commas_is_text(plain: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": 'a,[{\\"' * 60_000}], "max_tokens": 1}
    assert "values" not in post(plain, CHAT, body).text


@pytest.mark.parametrize(("body", "param", "said"), [
    ({"stop": ["a"] * 17}, "stop", "at most 16"),
    ({"stop": [""]}, "stop[0]", "at least 1 character"),
    ({"stop": 5}, "stop", "string or a valid array"),
    ({"stop": ["a", 5]}, "stop[1]", "string"),
    ({"chat_template_kwargs": {"messages": 1}}, "chat_template_kwargs", "'messages'"),
    ({"chat_template_kwargs": {"self": 1}}, "chat_template_kwargs", "'self'"),
    ({"chat_template_kwargs": {"tools": 1}}, "chat_template_kwargs", "'tools'"),
    ({"grammar": "root ::= x"}, "grammar", "response_format"),
    ({"guided_regex": "a+"}, "guided_regex", "response_format"),
    ({"guided_choice": ["a"]}, "guided_choice", "response_format"),
    ({"max_completion_tokens": -5}, "max_completion_tokens", "greater"),
    ({"continue_final_message": True}, "continue_final_message", "assistant"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing"),
])  # fmt: skip
def test_what_is_wrong_is_said_of_what_was_sent(plain: httpx.Client, body: dict, param: str, said: str) -> None:
    response = post(plain, CHAT, {"messages": HELLO, **body})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert said in error["message"]


@pytest.mark.parametrize(("path", "body", "param", "said"), [
    ("/v1/completions", {"prompt": []}, "prompt", "at least 1"),
    ("/v1/completions", {"prompt": [["a"]]}, "prompt[0][0]", "integer"),
    ("/v1/completions", {"prompt": {}}, "prompt", "string or a valid array"),
    ("/v1/embeddings", {"input": [1, 2]}, "input", "check_embedding_ctx_length=False"),
    ("/v1/embeddings", {"input": [[1]]}, "input", "send text"),
    ("/v1/embeddings", {"input": []}, "input", "at least"),
    ("/v1/embeddings", {"input": ["a", 1]}, "input[1]", "string"),
])  # fmt: skip
def test_unions_complain_of_what_was_sent(plain: httpx.Client, path: str, body: dict, param: str, said: str) -> None:
    error = post(plain, path, body).json()["error"]
    assert error["param"] == param
    assert said in error["message"]


def test_numbers_that_json_alone_can_hold_are_no_server_error(plain: httpx.Client) -> None:
    huge = {"type": "integer", "minimum": 10**300}
    function = {"name": "f", "parameters": huge}
    tool = {"type": "function", "function": function}
    assert post(plain, CHAT, {"messages": HELLO, "tools": [tool]}).status_code == 200
    responses = {"input": "x", "tools": [{"type": "function", **function}]}
    assert post(plain, "/v1/responses", responses).status_code == 200
    beyond = {
        "messages": HELLO,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"minimum": 10**400}}}],
    }
    assert post(plain, CHAT, beyond).status_code == 400


@pytest.mark.parametrize("fields", [
    {"response_format": {"type": "json_object", "schema": {"type": "object", "properties": {"a": {"const": 1}}}}},
    {"guided_json": {"type": "object", "properties": {"a": {"const": 1}}}},
    {"json_schema": {"type": "object", "properties": {"a": {"const": 1}}}},
])  # fmt: skip
def test_schemas_in_others_spelling_reach_the_model(serve, fields: dict) -> None:
    from vortex.backends.fake import FakeBackend

    backend = FakeBackend()
    assert post(serve(backend), CHAT, {"messages": HELLO, **fields}).status_code == 200
    assert backend.requests[-1].json_schema == {"type": "object", "properties": {"a": {"const": 1}}}


def test_a_lowered_limit_is_said_in_the_answer(plain: httpx.Client) -> None:
    body = {"messages": HELLO, "max_tokens": 32_000}
    assert "32000 was lowered" in post(plain, CHAT, body).json()["notes"][0]
    stream = post(plain, CHAT, {**body, "stream": True}).text.split("\n\n")
    assert "was lowered" in stream[0]
    assert not any("notes" in frame for frame in stream[1:])
    assert "was lowered" in post(plain, "/v1/completions", {"prompt": "x", "max_tokens": 32_000}).text
    assert (
        "was lowered"
        in post(plain, "/v1/responses", {"input": "x", "max_output_tokens": 32_000}).json()["metadata"]["notes"]
    )
    assert "notes" not in post(plain, CHAT, {"messages": HELLO}).json()


SENT = json.dumps({"messages": HELLO, "max_tokens": 2}).encode()


@pytest.mark.parametrize(("encoding", "body", "status"), [
    ("gzip", gzip.compress(SENT, mtime=0), 200), ("zstd", zstandard.compress(SENT), 200), ("identity", SENT, 200),
    ("br", SENT, 415), ("gzip", SENT, 400), ("gzip", gzip.compress(SENT, mtime=0)[:-9], 400), ("zstd", b"x", 400),
    ("gzip", gzip.compress(b" " * 10**8, mtime=0), 413), ("zstd", zstandard.compress(b" " * 10**8), 413),
])  # fmt: skip
def test_compressed_bodies_are_opened_under_the_cap(
    plain: httpx.Client, encoding: str, body: bytes, status: int
) -> None:
    response = post(plain, CHAT, body, **{"Content-Encoding": encoding})
    assert response.status_code == status, response.text
    if status == 415:
        assert "'br'" in response.json()["error"]["message"]


def test_a_byte_order_mark_is_no_fault(plain: httpx.Client) -> None:
    assert post(plain, CHAT, b"\xef\xbb\xbf" + SENT).status_code == 200


def test_heads_and_careless_slashes(plain: httpx.Client) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/v1/models", "/v1/models/vortex-fake"):
        response = plain.head(path)
        assert (response.status_code, response.content) == (200, b"")
    address = str(plain.base_url).rstrip("/")
    for path in ("/v1//models", "/v1/models/", "//healthz", "/v1/models//vortex-fake"):
        assert plain.get(address + path).status_code == 200
    assert post(plain, address + "//v1//chat/completions/", SENT).status_code == 200


@pytest.fixture
def address(plain: httpx.Client) -> tuple[str, int]:
    return plain.base_url.host, plain.base_url.port or 80


def test_an_endless_head_is_ended(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as one:
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (2 * patience.MAX_HEAD_BYTES))
        assert one.recv(4096).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(("sent", "limit"), [
    (b"", "HEAD_S"), (b"GET /healthz HTTP/1.1\r\nHost: loc", "HEAD_S"),
    (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", "BODY_S"),
])  # fmt: skip
def test_a_slow_sender_is_not_waited_for(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, sent: bytes, limit: str
) -> None:
    monkeypatch.setattr(patience, limit, 0.2)
    with socket.create_connection(address, timeout=10) as one:
        one.sendall(sent)
        assert one.recv(4096).startswith(b"HTTP/1.1 408")


def test_many_requests_on_one_connection_are_each_given_their_time(plain: httpx.Client) -> None:
    for _ in range(20):
        assert post(plain, CHAT, SENT).status_code == 200


@pytest.fixture
def program(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`vortex serve` as a process of its own, as a terminal starts it (nohup would leave SIGHUP ignored)."""
    environment = {**os.environ, "VORTEX_DATA": str(tmp_path)}
    command = [
        "env",
        "--default-signal=HUP",
        sys.executable,
        "-m",
        "vortex",
        "serve",
        "--backend",
        "fake",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().split()[-1].removesuffix("/v1")
        process.kill()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGHUP")
def test_a_lost_terminal_drains(program: tuple[subprocess.Popen[str], str]) -> None:
    process, address = program
    answers: list[int] = []
    body = {"messages": [{"role": "user", "content": "word " * 400}], "stream": True}
    asking = threading.Thread(target=lambda: answers.append(httpx.post(address + CHAT, json=body).status_code))
    asking.start()
    while "vortex_active_answers 1" not in httpx.get(address + "/metrics").text and asking.is_alive():
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 0
    asking.join()
    assert answers == [200]


def test_a_folder_that_cannot_be_written_is_told_once(serve, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from vortex.server.options import ServerOptions

    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    client = serve(None, ServerOptions(episodes_dir=blocked / "episodes"))
    for _ in range(3):
        assert post(client, CHAT, SENT).status_code == 200
    post(client, "/v1/feedback", {"request_id": "none", "rating": "up"})  # waits for what is being written
    told = [record for record in caplog.records if "not written down" in record.message]
    assert len(told) == 1
    assert told[0].exc_info is None
