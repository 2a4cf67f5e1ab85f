"""Every chat is written down once, off the hot path; feedback replaces feedback."""

from __future__ import annotations

import json
from pathlib import Path

from vortex.backends.fake import FakeBackend, Fault, FaultKind
from vortex.records.episodes import Episode, EpisodeStore
from vortex.server.options import ServerOptions

HELLO = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


def test_a_rated_answer_becomes_a_training_event(serve, tmp_path: Path) -> None:
    client = serve(FakeBackend(), ServerOptions(episodes_dir=tmp_path))
    answer = client.post("/v1/chat/completions", json=HELLO)
    request_id = answer.headers["x-request-id"]
    assert answer.json()["id"] == request_id
    store = EpisodeStore(tmp_path)

    def rate(**fields: object) -> dict:
        response = client.post("/v1/feedback", json={"request_id": request_id, **fields})
        assert response.status_code == 200, response.text
        return response.json()

    assert rate(rating="up")["training_event"] is False
    assert rate(rating="up", ideal_response="Paris!")["training_event"] is True
    assert rate(rating="up", ideal_response="It is Paris.")["training_event"] is True
    event = json.loads((tmp_path / "training.jsonl").read_text())  # one line: the earlier event was replaced
    assert (event["response"], event["messages"]) == ("It is Paris.", HELLO["messages"])
    assert rate(rating="down")["training_event"] is False
    assert store.training_events() == []
    assert store.feedback()[request_id].rating == "down"
    unknown = client.post("/v1/feedback", json={"request_id": "nobody", "rating": "up"})
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (404, "request_id")
    assert client.post("/v1/feedback", json={"request_id": request_id, "rating": "maybe"}).status_code == 400


def test_episodes_tell_what_happened(serve, tmp_path: Path) -> None:
    faults = [None, None, Fault(kind=FaultKind.BROKEN, after_tokens=1)]
    client = serve(FakeBackend(faults=faults), ServerOptions(episodes_dir=tmp_path))
    client.post("/v1/chat/completions", json={**HELLO, "stream": True})
    client.post("/v1/responses", json={"input": "hi", "instructions": "be kind"})
    client.post("/v1/chat/completions", json=HELLO)
    client.post("/v1/feedback", json={"request_id": "waits-for-the-queue", "rating": "up"})
    first, second, third = EpisodeStore(tmp_path).episodes()
    assert (first.answer, first.finish_reason, first.usage["completion"]) == ("Paris.", "stop", 2)
    assert first.timings["total_ms"] >= first.timings["first_token_ms"] > 0
    assert second.messages[0] == {"role": "system", "content": "be kind"}
    assert (third.answer, third.finish_reason) == ("Paris", None)
    assert "BackendError" in third.error


def test_without_episodes_nothing_is_written_and_feedback_is_unknown(plain) -> None:
    assert plain.post("/v1/feedback", json={"request_id": "x", "rating": "up"}).status_code == 404


def test_records_of_a_newer_program_can_be_read() -> None:
    episode = Episode(request_id="a", model="m", messages=[], answer="", created=1.0)
    assert Episode.from_json({**episode.to_json(), "field_of_tomorrow": 1}) == episode
