"""Which tokens end an answer, by the names model families gave them.

A model's files often name one end token only (the end of a text), while its chats end with another (the end of a
turn). An answer ends with either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

END_NAMES = (
    "<|im_end|>",  # ChatML: Qwen, SmolLM2
    "<|eot_id|>",  # Llama 3
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",  # GPT-2 and its descendants
    "<end_of_turn>",  # Gemma 2 and 3
    "<turn|>",  # Gemma 4
    "<|end|>",  # Phi 3
    "<|return|>",  # gpt-oss
    "<|call|>",
    "<|END_OF_TURN_TOKEN|>",  # Command R
    "<｜end▁of▁sentence｜>",  # DeepSeek
    "<|eot|>",  # Llama 4
    "<|user|>",  # GLM 4: the model yields the turn by naming its next speaker
)
HARMONY_RETURN, HARMONY_MESSAGE_END = "<|return|>", "<|end|>"
GLM_TURN, GLM_MARK = "<|user|>", "<|observation|>"


def end_token_ids(control_tokens: Mapping[str, int], named: Iterable[int | None]) -> tuple[int, ...]:
    """Ids that end an answer: the `named` ones of a model's files and the known names among its control tokens."""
    ids = {token_id for token_id in named if token_id is not None}
    for name in END_NAMES:
        if name == HARMONY_MESSAGE_END and HARMONY_RETURN in control_tokens:
            continue  # gpt-oss: ends one message of an answer; the next one follows
        if name == GLM_TURN and GLM_MARK not in control_tokens:
            continue  # Phi 3 and Zephyr spell the user's turn the same way, and never emit it
        if name in control_tokens:
            ids.add(control_tokens[name])
    return tuple(sorted(ids))
