"""Texts that tokenizers disagree on, and the ids llama.cpp gives them (`golden_ids.json`).

    python tests/tokenizer/golden_texts.py MODEL.gguf NAME     (needs llama-cpp-python) writes NAME's ids

For each text: the ids where control tokens are plain text, and those where they are parsed.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

GOLDEN_FILE = Path(__file__).with_name("golden_ids.json")
ALPHABET = [*"abc XYZ 019 \n\t.,'-_<>|éß世界🎉한", "\u0301", "<|im_end|>", "<end_of_turn>", "  "]

TEXTS = [
    "The quick brown fox jumps over the lazy dog. It's what they've said, isn't it? I'LL GO, they'd DON'T.",
    "def f(x):\n    return {k: v for k, v in x.items() if v is not None}\n\n\tclass A(B):\n\t\tpass  # ok\r\n\r\n",
    "世界你好，今天天气怎么样？日本語のテキスト、カタカナ。한국어 문장입니다.",
    "👩‍👩‍👧‍👦 🎉🎉 😀 🇫🇷 é è ñ ü ß — “quotes” … ½ ² ₿",
    "   leading and trailing   \n\n\n\n   many    spaces\t\ttabs \n \n x",
    "0 1 12 123 1234 12345 3.14159 1,000,000 0x1F 2024-01-02 ١٢٣ Ⅷ",
    "Привет мир, как дела? Γειά σου Κόσμε. שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก",
    '<html><body class="x">a &amp; b</body></html> https://example.com/a?b=c&d=%20 $x^2$ [1](2) `code` || && !== =>',
    "\u200b\u00a0\ufeff x café cafe\u0301 \x01\x7f ǅ ʰ ﬁ",
    "a" * 40,
    "HelloWorld fooBAR XMLHttpRequest snake_case_name SCREAMING_CASE",
    "<|im_start|>user\nHi<|im_end|>\n<start_of_turn>model\nYo<end_of_turn> <bos><eos><i>x</i><b>bold</b>\n\n\n\n\ny",
    " ",
    "\n",
    "  a",
    *["".join(random.Random(seed).choices(ALPHABET, k=40)) for seed in range(25)],
]


def main(model: str, name: str) -> None:
    import llama_cpp

    peer = llama_cpp.Llama(model, vocab_only=True, verbose=False)
    golden = json.loads(GOLDEN_FILE.read_text()) if GOLDEN_FILE.exists() else {}
    golden[name] = [
        [peer.tokenize(text.encode(), add_bos=False, special=special) for special in (False, True)] for text in TEXTS
    ]
    blocks = [f'"{key}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]" for key, rows in golden.items()]
    GOLDEN_FILE.write_text("{" + ",\n".join(blocks) + "}\n")


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
