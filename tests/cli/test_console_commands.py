"""`vortex console`, `calls`, `learn approve`, `memory keep`: what the page does, without the page."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.console.material import add_run
from vortex.cli.console.gateway_figures import GatewayDesk
from vortex.cli.console.opening import noted, running_servers
from vortex.console.doors import Doors
from vortex.learn.candidates.manifest import APPROVAL_FILE
from vortex.learn.candidates.runs import Runs
from vortex.records.questions import Questions


def test_without_a_server_it_says_what_to_start(inside) -> None:
    result = inside.run("console", "--print")
    assert (result.returncode, "start one: vortex serve" in result.stderr) == (2, True)


def test_a_link_for_a_named_server_opens_once_and_all_are_signed_out(inside) -> None:
    result = inside.run("console", "--print", "--url", "http://127.0.0.1:8000/")
    link = result.stdout.strip()
    assert link.startswith("http://127.0.0.1:8000/console/enter?key=")
    doors = Doors(Path(os.environ["XDG_STATE_HOME"]) / "vortex" / "console")
    session = doors.enter(link.partition("key=")[2])
    assert doors.is_inside(session)
    assert inside.run("console", "--sign-out-all").stdout == "1 session ended\n"
    assert not doors.is_inside(session)


def test_a_run_is_approved_by_the_hash_that_was_seen(inside) -> None:
    runs = Runs(Path(inside.folder) / "data" / "continuous")
    run_id = add_run(runs)
    digest = runs.state(run_id).hash
    refused = inside.run("learn", "approve", run_id, "--hash", "sha256:" + "0" * 64)
    assert (refused.returncode, "another candidate" in refused.stderr) == (8, True)
    assert not (runs.folder(run_id) / APPROVAL_FILE).exists()
    assert inside.run("learn", "approve", run_id, "--hash", digest).returncode == 0
    assert runs.state(run_id).state == "approved"
    assert [line["event"] for line in runs.journal.entries()][-1] == "approve"


def test_closed_gates_are_not_approved(inside) -> None:
    runs = Runs(Path(inside.folder) / "data" / "continuous")
    run_id = add_run(runs, figures={"kl": (0.4, "")})
    refused = inside.run("learn", "approve", run_id, "--hash", runs.state(run_id).hash)
    assert (refused.returncode, "kl is 0.4" in refused.stderr) == (8, True)


def test_a_memory_is_kept_with_a_line_in_its_history(inside) -> None:
    added = json.loads(
        inside.run("memory", "add", "The server is called Plum.", "--set", "rag.embedder=none", "--json").stdout
    )
    assert inside.run("memory", "keep", added["id"]).stdout == "kept: The server is called Plum.\n"
    changes = json.loads(inside.run("memory", "history", added["id"], "--json").stdout)["changes"]
    assert [row["change"] for row in changes] == ["added", "kept"]


@pytest.mark.parametrize("word", ["allow", "deny"])
def test_a_call_is_listed_with_its_arguments_and_answered(inside, word: str) -> None:
    questions, found = Questions(Path(inside.folder) / "data" / "questions"), []
    asking = threading.Thread(
        target=lambda: found.append(
            questions.ask("run_command", "command", {"command": ["ls"]}, "asks first", wait_s=20)
        )
    )
    asking.start()
    while not questions.waiting():
        asking.join(0.02)
    (listed,) = json.loads(inside.run("calls", "list", "--json").stdout)["calls"]
    assert (listed["tool"], listed["arguments"]) == ("run_command", {"command": ["ls"]})
    assert '"ls"' in inside.run("calls", "list").stdout
    assert inside.run("calls", word, "ffffffffffff").returncode == 2
    assert inside.run("calls", word, listed["id"]).returncode == 0
    asking.join(10)
    assert found == [word == "allow"]
    assert inside.run("calls", "list").stdout == "No call waits.\n"


def test_a_server_is_noted_while_it_runs(inside) -> None:
    with noted("http://127.0.0.1:1"):
        assert [one.url for one in running_servers()] == ["http://127.0.0.1:1"]
        unreachable = inside.run("console", "--print")
        assert (unreachable.returncode, "no server" in unreachable.stderr) == (2, True)
    assert running_servers() == []


METRICS = """# TYPE lkn_decisions_total counter
lkn_decisions_total{mode="FLUIDO",reason="low"} 7
lkn_decisions_total{mode="ANALITICO",reason="high"} 2
lkn_decisions_total{mode="ANALITICO",reason="asked"} 1
# TYPE lkn_threshold_offset gauge
lkn_threshold_offset 0.05
# TYPE lkn_budget_factor gauge
lkn_budget_factor 0.9
# TYPE lkn_concurrency_factor gauge
lkn_concurrency_factor 1
# TYPE lkn_controller_frozen gauge
lkn_controller_frozen 1
"""


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Something that answers at the gateway's address; what it says may be exchanged."""
    said = [METRICS]

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = said[0].encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nothing to tell."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    monkeypatch.setenv("LKN_PORT", str(server.server_port))
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    yield said
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_gateways_figures_are_read_where_one_runs(gateway: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = GatewayDesk().figures()
    assert found is not None
    assert found["decisions"] == {"FLUIDO": 7, "ANALITICO": 3}
    assert (found["threshold_offset"], found["budget_factor"], found["frozen"]) == (0.05, 0.9, True)
    gateway[0] = "vortex_requests_total 3\n"
    assert GatewayDesk().figures() is None
    monkeypatch.setenv("LKN_PORT", "9")
    assert GatewayDesk().figures() is None


@pytest.mark.long
def test_the_served_console_is_opened_by_its_link(vortex) -> None:
    with vortex.start("serve", "--backend", "fake", "--port", "0", "--set", "continuous.lessons=false") as server:
        try:
            address = server.stdout.readline().split()[-1].decode().removesuffix("/v1")
            link = vortex.run("console", "--print").stdout.strip()
            assert link.startswith(f"{address}/console/enter?key=")
            with httpx.Client(trust_env=False, follow_redirects=True) as client:
                assert "What waits for you" in client.get(link).text
                assert client.get(f"{address}/console/state").status_code == 200
                assert client.get(f"{address}/console/history").status_code == 200
            with httpx.Client(trust_env=False) as stranger:
                assert stranger.get(link).status_code == 403
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=60)
    assert server.returncode == 0
    without = vortex.start(
        "serve", "--backend", "fake", "--port", "0", "--no-console", "--set", "continuous.lessons=false"
    )
    with without:
        try:
            address = without.stdout.readline().split()[-1].decode().removesuffix("/v1")
            assert httpx.get(f"{address}/console", trust_env=False).status_code == 404
        finally:
            without.send_signal(signal.SIGTERM)
            try:
                without.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                without.kill()


@pytest.mark.long
def test_a_change_of_the_agent_waits_for_a_word_given_elsewhere(vortex) -> None:
    project = vortex.folder
    (project / "tests").mkdir()
    source, test = project / "numbers_of.py", project / "tests" / "test_numbers.py"
    source.write_text("def largest(values):\n    return min(values)\n")
    test.write_text("from numbers_of import largest\n\n\ndef test_largest():\n    assert largest([1, 5, 3]) == 5\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "Begin"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        subprocess.run(["git", *identity, *command], cwd=project, check=True, capture_output=True)
    questions = Questions(project / "data" / "questions")
    words = ("agent-run", "--task", "Fix failing test", "--ask", "console", "--set", "model.backend=fake")
    with vortex.start(*words) as running:
        while not (waiting := questions.waiting()):
            assert running.poll() is None, running.communicate()
            time.sleep(0.1)
        (one,) = waiting
        assert (one.tool, one.arguments["paths"]) == ("change files", ["numbers_of.py"])
        assert "+    return max(values)" in one.arguments["diff"]
        assert "min(values)" in source.read_text()
        questions.answer(one.id, one.hash, allowed=True)
        running.communicate(timeout=120)
    assert running.returncode == 0
    assert "max(values)" in source.read_text()
