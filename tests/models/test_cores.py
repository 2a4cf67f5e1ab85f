"""A core's folder to a model that answers, with the settings' changes: resident, paged and with drafts the same."""

import asyncio
import dataclasses

import numpy as np
import pytest

from tests.vblocks.core_models import one_thread, tiny_network
from tests.vblocks.test_model import swept
from vortex.cli.composition import core_options, local_backend, open_model, settings_for
from vortex.config.schema import keys_of
from vortex.errors import ConfigError, ModelFileError
from vortex.models import cores
from vortex.models.cores import CoreOptions, open_core
from vortex.models.opened import LoadOptions
from vortex.types import ChatMessage, ChatRequest, Completed, SamplingOptions, TextDelta
from vortex.vblocks.checkpoint import CoreCheckpoint, save_core
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.lava_options import LavaOptions
from vortex.vblocks.network.network import weights_of

__all__ = ["one_thread"]  # a fixture


@pytest.fixture
def saved(tmp_path):
    network = tiny_network(1, vocab_size=262, width=32, num_layers=4, mlp_width=64, lava_slots=20)
    save_core(tmp_path / "core", CoreCheckpoint(network.config, weights_of(network), "bytes", {"licence": "CC0"}))
    return tmp_path / "core"


def test_resident_and_paged_give_the_same_bits(saved, tmp_path) -> None:
    ids = list(b"a few bytes of text, and some more of them")
    resident = open_core(saved, LoadOptions(packed_root=tmp_path / "made"))
    expected = swept(resident.model, resident.model.new_state(), ids)
    for _ in range(2):  # the second finds the packed folder
        paged = open_core(saved, LoadOptions(packed_root=tmp_path / "made", budget_bytes=250_000))
        assert paged.model.weights.source.bytes_to_fetch > 0
        assert np.array_equal(swept(paged.model, paged.model.new_state(), ids), expected)
        paged.model.close()
    assert resident.licence == "CC0"


def test_a_large_core_is_packed_once_and_then_opened_from_there(saved, tmp_path, monkeypatch) -> None:
    ids = list(b"a few bytes of text")
    expected = swept(*fresh(open_core(saved, LoadOptions(packed_root=tmp_path))), ids)
    monkeypatch.setattr(cores, "PACKED_ONCE", 1000)
    for _ in range(2):
        assert np.array_equal(
            swept(*fresh(open_core(saved, LoadOptions(packed_root=tmp_path / "made"))), ids), expected
        )
        monkeypatch.setattr(cores, "read_core", None)  # the second time the weights are not read again
    assert len(list((tmp_path / "made").glob("*.c3"))) == 1


def fresh(core):
    return core.model, core.model.new_state()


def test_every_setting_of_a_core_is_one_of_its_fields_by_name() -> None:
    """Nothing but the name ties the two: a setting that no field has would fail only when a user sets it."""
    wanted = {
        "core.mtp_k": 1,
        "depth_gating.min": 2,
        "depth_gating.max": 3,
        "depth_gating.hysteresis": 0.1,
        **{key: 1 for key in keys_of() if key.startswith("vortex_model.lava_") and not key.endswith("_path")},
    }
    changes = core_options(
        settings_for("default", [f"{key}={value}" for key, value in wanted.items()]).settings
    ).changes
    assert len(changes) == len(wanted)
    assert set(changes) <= {field.name for field in dataclasses.fields(CoreConfig)}
    assert {f"lava_{field.name}" for field in dataclasses.fields(LavaOptions)} <= set(
        CoreConfig(vocab_size=1).to_json()
    )


def test_settings_change_what_a_core_does(saved, tmp_path) -> None:
    wanted = ["core.mtp_k=1", "vortex_model.lava_clusters=4", "vortex_model.lava_read_every=2", "depth_gating.max=3"]
    wanted += ["vortex_model.lava_write_on_surprise=true", f"vortex_model.lava_state_path={tmp_path / 'memory'}"]
    options = core_options(settings_for("default", wanted).settings)
    found = open_core(saved, LoadOptions(packed_root=tmp_path), options)
    config = found.model.config
    assert (config.mtp_k, config.lava_clusters, config.lava_read_every) == (1, 4, 2)
    assert found.model.draft_heads == 1
    assert config.lava_write_on_surprise
    assert config.depth_max == 3
    assert config.lava_write_every == 7
    swept(found.model, found.model.new_state(), list(b"remember this, please"))
    found.model.close()
    assert (tmp_path / "memory").exists()
    with pytest.raises(ConfigError, match=r"core\.mtp_k"):
        open_core(saved, LoadOptions(packed_root=tmp_path), CoreOptions(changes={"mtp_k": 3}))


def test_a_missing_tokenizer_is_named(saved, tmp_path) -> None:
    network = tiny_network(vocab_size=262)
    save_core(saved, CoreCheckpoint(network.config, weights_of(network), "some-tok"))
    with pytest.raises(ModelFileError, match="some-tok"):
        open_core(saved, LoadOptions(packed_root=tmp_path))
    small = tiny_network(vocab_size=61)
    save_core(saved, CoreCheckpoint(small.config, weights_of(small), "bytes"))
    with pytest.raises(ModelFileError, match="262"):
        open_core(saved, LoadOptions(packed_root=tmp_path))


def answer(folder, *assignments: str, temperature: float = 0.0) -> tuple[str, dict[str, float]]:
    loaded = settings_for("default", [f"model.name={folder}", *assignments])

    async def ask() -> tuple[str, dict[str, float]]:
        backend = local_backend(open_model(loaded), loaded)
        request = ChatRequest(
            request_id="1",
            messages=(ChatMessage(role="user", content="abcabcabcabc abcabcabc"),),
            sampling=SamplingOptions(temperature=temperature, seed=5),
            max_tokens=40,
            ignore_eos=True,
        )
        text, counters = "", {}
        async for event in backend.chat(request):
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, Completed):
                counters = dict(event.timings.counters)
        await backend.close()
        return text, counters

    return asyncio.run(ask())


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_core_answers_and_its_drafts_change_nothing(saved, temperature: float) -> None:
    plain, _ = answer(saved, "bad.enabled=false", temperature=temperature)
    assert plain
    drafted, counters = answer(saved, temperature=temperature)
    assert drafted == plain
    assert answer(saved, "runtime.cache_vram_budget_mb=1", temperature=temperature)[0] == plain
    assert counters["num_accepted_draft_tokens"] > 0
