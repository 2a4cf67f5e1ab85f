"""Tags of GGUF files as repositories really name them, and what a colon in a name means."""

from __future__ import annotations

import pytest

from vortex.errors import ModelNotFound
from vortex.hub.quantisations import choose, offers_of
from vortex.hub.reference import Reference, looks_like_repository, read_reference


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("Model-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("BF16/Model-BF16.gguf", "BF16"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("Qwen3-Next-80B-A3B-IQ4_XS.gguf", "IQ4_XS"),
        ("model-fp16.gguf", "FP16"),
        ("ggml-model-TQ1_0.gguf", "TQ1_0"),
        ("model.gguf", ""),
    ],
)
def test_tags(name: str, tag: str) -> None:
    assert [offer.tag for offer in offers_of([name])] == [tag]


def test_parts_are_one_offer_and_half_a_set_is_none() -> None:
    names = [f"m-Q8_0-0000{part}-of-00002.gguf" for part in (2, 1)]
    assert [offer.files for offer in offers_of(names)] == [tuple(sorted(names))]
    assert offers_of(names[:1]) == []
    assert offers_of(["mmproj-F16.gguf", "imatrix.gguf", "mtp-Q8_0.gguf", "a.safetensors"]) == []


def test_one_is_chosen_or_what_exists_is_listed() -> None:
    offers = offers_of(["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-Q2_K.gguf"])
    assert choose(offers, "q2_k", "a/b").tag == "Q2_K"
    assert choose(offers, "", "a/b").tag == "Q4_K_M"
    with pytest.raises(ModelNotFound, match=r"a/b has no Q3_K; there are: Q2_K, Q4_K_M, Q8_0"):
        choose(offers, "Q3_K", "a/b")
    with pytest.raises(ModelNotFound, match="name one; there are: Q2_K, Q3_K_S"):
        choose(offers_of(["m-Q2_K.gguf", "m-Q3_K_S.gguf"]), "", "a/b")


def test_names() -> None:
    assert read_reference("hf.co/a/b:q4_k_m") == Reference("a/b", "Q4_K_M")
    assert read_reference("a/b") == Reference("a/b")
    assert read_reference("C:\\models\\x.gguf") == Reference("C:\\models\\x.gguf")
    assert read_reference("/x:y/z.gguf") == Reference("/x:y/z.gguf")
    assert looks_like_repository("a/b")
    assert not looks_like_repository("../b")
