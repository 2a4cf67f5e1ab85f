"""What a machine is advised: what fits, is fast enough, and is good for the purpose."""

from __future__ import annotations

from vortex.hub.catalogue import CATALOGUE
from vortex.hub.recommended import CANDIDATES, Machine, advise, better_than, tokens_per_s

LAPTOP = Machine(memory_bytes=6e9, disk_bytes=50e9, memory_bytes_per_s=20e9)


def test_the_best_that_fits_and_is_fast_enough() -> None:
    advice = {one.purpose: one for one in advise(LAPTOP, [])}
    assert advice["chat"].candidate.name == "Qwen/Qwen3-4B-GGUF:Q4_K_M"  # the 8B fits, at 4 tokens/s
    assert advice["chat"].tokens_per_s == 20e9 / 2.497e9
    assert set(advice) == {"chat", "code", "tools", "spanish"}


def test_a_slow_machine_gets_the_fastest_and_a_full_one_nothing() -> None:
    (slow,) = advise(Machine(64e9, 50e9, 0.2e9), [], ["spanish"])
    assert slow.candidate.name == "Qwen/Qwen3-0.6B-GGUF:Q8_0"
    assert advise(Machine(100e6, 50e9, 20e9), []) == []


def test_a_full_disk_leaves_what_is_here() -> None:
    (advice,) = advise(Machine(6e9, 1e6, 20e9), ["qwen2.5-coder-0.5b"], ["code"])
    assert (advice.candidate.name, advice.is_here) == ("qwen2.5-coder-0.5b", True)


def test_better_than_the_one_in_use_among_names_that_are_known_here() -> None:
    better = better_than("smollm2-135m", LAPTOP, [], list(CATALOGUE))
    assert better is not None
    assert better.candidate.name == "qwen2.5-coder-1.5b"
    assert better_than("qwen2.5-coder-1.5b", LAPTOP, [], list(CATALOGUE)) is None


def test_sizes_are_those_of_the_catalogue() -> None:
    for one in CANDIDATES:
        if one.name in CATALOGUE:
            assert abs(one.size_bytes / CATALOGUE[one.name].size_bytes - 1) < 0.01
        assert tokens_per_s(one, LAPTOP) > 0
