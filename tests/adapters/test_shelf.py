"""Bank, store, pointer and shelf: what a name means, what is held, what is told when it cannot be."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

import pytest

from tests.adapters.random_adapters import write_random
from vortex.adapters.bank import COPIES, AdapterBank
from vortex.adapters.current import Current, Promoted
from vortex.adapters.promoted_here import PromotedHere
from vortex.adapters.reading import WEIGHTS_FILE, ModelTargets, read_adapter
from vortex.adapters.shelf import AdapterShelf
from vortex.adapters.store import AdapterStore
from vortex.errors import AdapterError, Overloaded, UnknownModel
from vortex.types import Adapter

LAYERS = {"model.layers.0.self_attn.q_proj": (24, 16)}
TARGETS = ModelTargets("tiny", LAYERS)
ONE_BYTES = COPIES * 4 * (24 + 16) * 4


def bank_of(budget_bytes: int) -> AdapterBank:
    return AdapterBank(lambda folder, limit_bytes: read_adapter(folder, TARGETS), budget_bytes)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [write_random(tmp_path / f"lora{seed}", LAYERS, seed=seed) for seed in range(4)]


def test_least_used_out_first_and_never_one_in_use(folders: list[Path]) -> None:
    bank = bank_of(2 * ONE_BYTES)
    with bank.lease(folders[0]) as first, bank.lease(folders[1]):
        assert bank.lease(folders[0]).adapter is first
        with pytest.raises(Overloaded, match="budget_mb"):
            bank.lease(folders[2])
    bank.lease(folders[0]).release()  # one lease of it was never given back
    bank.lease(folders[2]).release()
    assert bank.evictions == 1
    assert bank.loads == 3
    assert bank.lease(folders[0]).adapter is first, "the other one went"
    assert bank.resident_bytes <= 2 * ONE_BYTES
    with pytest.raises(AdapterError, match="all adapters may take"):
        bank_of(ONE_BYTES - 1).lease(folders[0])


def test_whoever_holds_an_adapter_keeps_it_and_nobody_else_does(folders: list[Path]) -> None:
    bank = bank_of(ONE_BYTES)
    lease = bank.lease(folders[0])
    kept: Adapter = lease.adapter
    lease.release()
    lease.release()
    bank.lease(folders[1]).release()
    assert kept.parts, "still whole"
    gone = weakref.ref(kept)
    del kept, lease
    gc.collect()
    assert gone() is None


def test_a_changed_folder_is_read_again_and_a_promoted_one_is_refused(folders: list[Path]) -> None:
    bank = bank_of(10 * ONE_BYTES)
    lease = bank.lease(folders[0])
    before = lease.adapter
    (folders[0] / WEIGHTS_FILE).write_bytes((folders[1] / WEIGHTS_FILE).read_bytes())
    after = bank.lease(folders[0])
    assert after.adapter.hash != before.hash
    assert lease.adapter is before
    with pytest.raises(AdapterError, match="was changed since"):
        bank.lease(folders[0], before.hash)
    lease.release()
    after.release()


def test_many_threads(folders: list[Path]) -> None:
    bank, failures = bank_of(2 * ONE_BYTES), []

    def work(seed: int) -> None:
        for i in range(40):
            try:
                with bank.lease(folders[(seed + i) % 4]) as adapter:
                    assert adapter.parts
            except Overloaded:
                pass
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert bank.resident_bytes <= 2 * ONE_BYTES


def test_the_store_keeps_copies_with_their_origin(folders: list[Path], tmp_path: Path) -> None:
    store = AdapterStore(tmp_path / "home" / "adapters")
    assert store.list() == []
    record = store.add(folders[0], "sql", TARGETS)
    (folders[0] / WEIGHTS_FILE).unlink()
    assert store.list() == [record]
    assert store.find("sql") == record
    assert (record.model, record.made_for, record.ranks, record.source) == ("tiny", "tiny", (4, 4), str(folders[0]))
    assert read_adapter(record.folder, TARGETS).hash == record.hash
    with pytest.raises(AdapterError, match="already"):
        store.add(folders[1], "sql", TARGETS)
    for name in ("", "../x", "a/b", ".hidden", "tiny", "x:current", "x" * 65):
        with pytest.raises(AdapterError, match="cannot be an adapter's name"):
            store.add(folders[1], name, TARGETS)
    with pytest.raises(AdapterError, match="another model"):
        store.add(folders[1], "other", ModelTargets("big", {"model.layers.0.self_attn.q_proj": (48, 16)}))
    assert [path.name for path in store.root.iterdir()] == ["sql"], "nothing half there"
    assert store.remove("sql") == record.num_bytes
    assert list(store.root.iterdir()) == []
    with pytest.raises(AdapterError, match="vortex adapters list"):
        store.remove("sql")
    with pytest.raises(AdapterError, match="vortex adapters list"):
        store.remove("../lora1")


def test_the_pointer_moves_whole(tmp_path: Path) -> None:
    current = Current(tmp_path / "continuous" / "current", "a/b model")
    assert current.read() is None
    inside = Promoted(tmp_path / "continuous" / "quarantine" / "r1", "sha256:1", "r1")
    current.set(inside)
    found = current.read()
    assert found is not None
    assert found.folder.resolve() == inside.folder.resolve()
    assert str(tmp_path) not in current.file.read_text(), "the data folder may move"
    current.set(Promoted(Path("/elsewhere"), "sha256:2"))
    assert current.read() == Promoted(Path("/elsewhere"), "sha256:2")
    current.file.write_text("{")
    with pytest.raises(AdapterError, match="rollback"):
        current.read()
    current.clear()
    current.clear()
    assert current.read() is None


def test_a_pointer_that_came_with_a_strangers_folder_is_refused(tmp_path: Path) -> None:
    mine = PromotedHere(tmp_path / "home" / "promoted.jsonl")
    theirs = Promoted(tmp_path / "repository" / "r1", "sha256:1", "r1")
    Current(tmp_path / "repository" / "current", "tiny").set(theirs)
    current = Current(tmp_path / "repository" / "current", "tiny", mine)
    with pytest.raises(AdapterError, match="you never promoted"):
        current.read()
    shelf = AdapterShelf(model="tiny", bank=bank_of(10 * ONE_BYTES), current=current)
    assert shelf.choose("tiny").adapter is None
    for name in (None, "tiny:current"):
        with pytest.raises(AdapterError, match="the pointer of tiny:current points to an adapter that you never"):
            shelf.choose(name)
    current.set(theirs)
    assert Current(current.file.parent, "tiny", PromotedHere(mine.file)).read() == current.read()
    with pytest.raises(AdapterError, match="you never promoted"):  # of that model alone
        moved = Current(current.file.parent, "other", mine)
        moved.file.write_bytes(current.file.read_bytes())
        moved.read()


def test_what_names_mean(folders: list[Path], tmp_path: Path) -> None:
    store, current = AdapterStore(tmp_path / "store"), Current(tmp_path / "current", "tiny")
    shelf = AdapterShelf(
        model="tiny", bank=bank_of(10 * ONE_BYTES), store=store, current=current, given={"mine": folders[0]}
    )
    assert list(shelf.names()) == ["tiny:current", "mine"]
    assert [shelf.choose(name).adapter for name in ("tiny", None, "tiny:current")] == [None] * 3
    assert shelf.choose("tiny:current").name == "tiny:current"
    assert shelf.choose(None).name == "tiny"
    mine = shelf.choose("mine")
    assert mine.adapter is not None
    record = store.add(folders[1], "sql", TARGETS)
    store.add(folders[1], "foreign", ModelTargets("big", LAYERS))
    assert list(shelf.names()) == ["tiny:current", "mine", "sql"]
    with shelf.choose("sql") as chosen:
        assert chosen.adapter is not None
        assert chosen.adapter.hash == record.hash
    with pytest.raises(UnknownModel, match="is for big"):
        shelf.choose("foreign")
    with pytest.raises(UnknownModel, match="GET /v1/models"):
        shelf.choose("nothing")

    current.set(Promoted(folders[2], read_adapter(folders[2], TARGETS).hash, "run"))
    before = shelf.choose(None)
    assert (before.name, shelf.choose("tiny").adapter) == ("tiny:current", None)
    current.set(Promoted(folders[3], read_adapter(folders[3], TARGETS).hash, "run2"))
    assert before.adapter is not None
    assert before.adapter.hash == read_adapter(folders[2], TARGETS).hash, "a running request keeps its own"
    after = shelf.choose("tiny:current").adapter
    assert after is not None
    assert after.hash == read_adapter(folders[3], TARGETS).hash
