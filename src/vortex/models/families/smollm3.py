"""SmolLM3: Llama's layers, every fourth of them without rotation. Source: transformers' `smollm3` classes."""

from __future__ import annotations

from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import FeedForward
from vortex.models.families.family import SILU, Family, Reading, plain_attention, plain_blueprint

EVERY = 4


def draw(reading: Reading) -> Blueprint:
    every = reading.whole("no_rope_layer_interval", EVERY, least=1)
    usual = [int((layer + 1) % every != 0) for layer in range(reading.layers)]
    turns = reading.values.wholes("no_rope_layers", usual, most=1)
    turns = turns if len(turns) == reading.layers else usual
    window = reading.whole("sliding_window", 0) if reading.flag("use_sliding_window") else 0
    biased = reading.flag("attention_bias")
    usual_kinds = ["sliding_attention" if window and turn else "full_attention" for turn in turns]
    kinds = reading.kinds(usual_kinds, ["full_attention", "sliding_attention"])
    ffn = FeedForward(ffn_width=reading.whole("intermediate_size", least=1), activation=reading.activation(SILU))
    layers = []
    for turn, kind in zip(turns, kinds, strict=True):
        seen = window if kind == "sliding_attention" else 0
        attention = plain_attention(reading, rotation="all" if turn else "", window=seen, bias=biased, out_bias=biased)
        layers.append((Step(blocks=(attention,), norm="attention_norm"), Step(blocks=(ffn,), norm="ffn_norm")))
    frequencies = reading.frequencies(reading.head_width, theta=2_000_000.0)
    tied = reading.flag("tie_word_embeddings", True)
    return plain_blueprint(reading, layers, rotations={"all": frequencies}, tied_head=tied)


FAMILY = Family(name="SmolLM3", model_types=("smollm3",), draw=draw)
