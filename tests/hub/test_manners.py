"""How a model wants to be asked is read with care, and never over what somebody chose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vortex.cli.composition import settings_for, with_manners
from vortex.hub.cache import ModelKind, ResolvedModel
from vortex.hub.catalogue import DEFAULT_MODEL
from vortex.hub.manners import Manners, manners_of
from vortex.tokenizer.default_system import WithSystem
from vortex.types import ChatMessage


def model(folder: Path) -> ResolvedModel:
    return ResolvedModel(
        name="stranger", path=folder, kind=ModelKind.SAFETENSORS, licence=None, origin="", made_folder=folder
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8},
            {"temperature": 0.7, "top_k": 20, "top_p": 0.8},
        ),
        ({"temperature": 0.7, "repetition_penalty": 1.05}, {"repetition_penalty": 1.05}),
        ({"do_sample": True, "temperature": "hot", "top_p": float("nan"), "top_k": -1, "min_p": True}, {}),
        ([1, 2], {}),
    ],
)
def test_recommendations_are_checked(said: object, expected: dict[str, float], tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps(said))
    assert manners_of(model(tmp_path)) == Manners(expected)


def test_what_is_no_json_says_nothing(tmp_path: Path) -> None:
    assert manners_of(model(tmp_path)) == Manners()
    (tmp_path / "generation_config.json").write_text("[" * 100_000)
    assert manners_of(model(tmp_path)) == Manners()


def test_a_choice_of_the_user_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded, system = with_manners(settings_for(flags={"model.name": DEFAULT_MODEL}))
    assert (loaded.settings.decode.repetition_penalty, loaded.settings.decode.penalty_reads_prompt) == (1.12, False)
    assert loaded.origins["decode.repetition_penalty"] == "the model's own"
    assert system
    loaded, _ = with_manners(settings_for(assignments=["decode.repetition_penalty=1.0"]))
    assert loaded.settings.decode.repetition_penalty == 1.0


def test_a_conversation_that_tells_nothing_gets_the_models_message() -> None:
    seen: list[list[ChatMessage]] = []

    class Recorder:
        def encode(self, messages, tools=(), **options) -> list[int]:
            seen.append(list(messages))
            return [0]

    user = ChatMessage(role="user", content="hello")
    told = ChatMessage(role="developer", content="be brief")
    written = WithSystem(Recorder(), "be kind")
    written.encode([user])
    written.encode([told, user])
    assert [message.content for message in seen[0]] == ["be kind", "hello"]
    assert seen[1] == [told, user]
