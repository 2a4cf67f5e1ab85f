"""Bits per byte of one small Transformer trained on each tokenizer at equal compute.

Equal compute: the vocabularies have one size, so equal steps of equal batches are equally many multiplications, and
every variant gets them. A tokenizer that spends fewer tokens shows the model more text in them, which is its point.
Judged on held-out bytes, every byte of every document counted. What is done is kept in the folder of the prepared
tokenizers: an interrupted run goes on with the variant it was at.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.bench.tokenizer.small_transformer import SmallModel, SmallTransformer, bits_of_documents, train
from vortex.bench.tokenizer.variants import VARIANTS, encode_texts, load_documents, load_variant
from vortex.records.atomic import atomic_write

KEPT_FILE = "quality.json"
DOCUMENT_BYTES = 4096  # judged of each held-out document
RECIPE = 1  # changes when kept results would come out otherwise
CALIBRATION_STEPS = 6
SHARE_FOR_TRAINING = 0.8  # of the minutes; the rest judges and encodes
FEWEST_STEPS = 20


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one variant's model reads. training: [tokens] int32, all documents, each begun by the mark; held_out: ids
    by document; text_bytes: of the documents in `training`."""

    training: np.ndarray
    held_out: Sequence[np.ndarray]
    text_bytes: int


@dataclass(frozen=True, slots=True)
class Judged:
    """document_bits: by held-out document. text_mb: of the text that the tokens read in training are."""

    document_bits: Sequence[float]
    text_mb: float
    seconds: float


@dataclass
class QualityMeasurement:
    """folder: what `tokenizer_variants.prepare` made, and where results are kept. shape: its vocabulary is set here.
    variants: the first is what the others are compared with. steps: None to choose as many as `minutes` allow."""

    folder: Path
    shape: SmallModel
    variants: Sequence[str] = VARIANTS
    steps: int | None = None
    minutes: float = 8.0
    judged_bytes: int = 250_000
    say: Callable[[str], None] = print
    training: list[bytes] = field(init=False, default_factory=list)
    held_out: list[bytes] = field(init=False, default_factory=list)

    def check(self) -> None:
        """Equal compute needs vocabularies of one size. Raises CheckFailed, ModelNotFound."""
        documents = load_documents(self.folder)
        self.training = documents.training
        self.held_out = sample_of(documents.text, DOCUMENT_BYTES, self.judged_bytes)
        if not self.held_out or not self.training:
            raise CheckFailed("no documents to learn from, or none held out")
        sizes = {name: load_variant(self.folder, name).vocab_size for name in self.variants}
        if max(sizes.values()) - min(sizes.values()) > 0.02 * max(sizes.values()):
            raise CheckFailed(f"the vocabularies differ in size, so the compute is not equal: {sizes}")
        self.shape = replace(self.shape, vocab_size=max(sizes.values()) + 1)

    def measure(self) -> Report:
        kept = _Kept(self.folder / KEPT_FILE, self._key())
        left = [name for name in self.variants if name not in kept.judged]
        lessons = {name: self._lesson(name) for name in left}
        steps = kept.steps or self.steps or self._affordable_steps()
        kept.begin(steps)
        for name in left:
            self.say(f"a small model on {name}: {steps} steps")
            kept.add(name, self._judge(name, lessons.pop(name), steps))
        return self._report(steps, kept.judged)

    def _lesson(self, name: str) -> Lesson:
        """Documents in an order drawn by the seed."""
        self.say(f"encoding with {name}")
        begin = np.array([self.shape.vocab_size - 1], np.int32)
        encoded = encode_texts(self.folder, name, [*self.training, *self.held_out])
        order = np.random.default_rng(self.shape.seed).permutation(len(self.training))
        training = np.concatenate([part for at in order for part in (begin, encoded[at])])
        return Lesson(training, encoded[len(self.training) :], sum(map(len, self.training)))

    def _judge(self, name: str, lesson: Lesson, steps: int) -> Judged:
        started_s = time.monotonic()
        net = SmallTransformer(self.shape)
        train(net, lesson.training, steps, lambda line: self.say(f"{name}: {line}"))
        bits = bits_of_documents(net, lesson.held_out, self.shape.vocab_size - 1)
        text_mb = lesson.text_bytes / len(lesson.training) * steps * self.shape.tokens_per_step / 1e6
        return Judged(bits, round(text_mb, 2), round(time.monotonic() - started_s, 1))

    def _affordable_steps(self) -> int:
        """So many that all variants end within the minutes, timed on ids that mean nothing."""
        net = SmallTransformer(self.shape)
        tokens = 4 * self.shape.batch * (self.shape.window_tokens + 1)
        noise = np.random.default_rng(0).integers(0, self.shape.vocab_size, tokens)
        train(net, noise, 2, self.say)
        started_s = time.monotonic()
        train(net, noise, CALIBRATION_STEPS, self.say)
        step_s = (time.monotonic() - started_s) / CALIBRATION_STEPS
        return max(FEWEST_STEPS, int(self.minutes * 60 * SHARE_FOR_TRAINING / len(self.variants) / step_s))

    def _key(self) -> str:
        """Changes with the texts, the model's shape and where it runs."""
        digest = hashlib.sha256(repr((RECIPE, asdict(self.shape), self.steps, self.minutes)).encode())
        for text in (*self.training, b"held out", *self.held_out):
            digest.update(len(text).to_bytes(8, "little") + text)
        return digest.hexdigest()

    def _report(self, steps: int, judged: Mapping[str, Judged]) -> Report:
        model = self.shape
        sizes = [len(text) for text in self.held_out]
        first = judged[self.variants[0]]
        rows, figures = [], {}
        for name in self.variants:
            found = judged[name]
            value = sum(found.document_bits) / sum(sizes)
            change, error = compare(found.document_bits, first.document_bits, sizes)
            versus = "" if found is first else f"{change:+.3f} ± {error:.3f}"
            rows.append([name, f"{found.text_mb:.1f}", f"{value:.3f}", versus, f"{found.seconds:.0f}"])
            figures[name] = {
                "bits_per_byte": round(value, 4),
                "change": round(change, 4),
                "standard_error": round(error, 4),
                "text_mb": found.text_mb,
                "seconds": found.seconds,
            }
        tokens = steps * model.tokens_per_step
        petaflops = steps * model.flops_per_step / 1e15
        title = (
            f"bits per byte of {sum(sizes) / 1e3:.0f} kB held out; each: {steps} steps, {tokens / 1e6:.2f} M "
            f"tokens, {petaflops:.3g} PFLOP, {model.layers} layers of width {model.width}, {model.device}"
        )
        head: dict[str, object] = {**asdict(model), "steps": steps, "tokens": tokens, "petaflop": petaflops}
        columns = ["", "text read, MB", "bits/byte", f"against {self.variants[0]}", "seconds"]
        bars = {row[0]: float(row[2]) for row in rows}
        return Report("tokenizer-quality", title, columns, rows, head | figures, bars, "bits per byte, held-out text")


class _Kept:
    """Steps and results in a file; forgotten where they are of another comparison."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        self.steps: int | None = None
        self.judged: dict[str, Judged] = {}
        try:
            saved = json.loads(self._path.read_bytes())
            if saved.get("key") == key:
                self.steps = int(saved["steps"])
                self.judged = {name: Judged(**fields) for name, fields in saved["judged"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # nothing usable was left behind

    def begin(self, steps: int) -> None:
        self.steps = steps
        self._save()

    def add(self, name: str, judged: Judged) -> None:
        self.judged[name] = judged
        self._save()

    def _save(self) -> None:
        judged = {name: asdict(found) for name, found in self.judged.items()}
        with atomic_write(self._path) as file:
            file.write(json.dumps({"key": self._key, "steps": self.steps, "judged": judged}).encode())


def compare(bits: Sequence[float], others: Sequence[float], sizes: Sequence[int]) -> tuple[float, float]:
    """(difference in bits per byte, its standard error), document by document, weighed by their bytes."""
    total = sum(sizes)
    change = (sum(bits) - sum(others)) / total
    if len(sizes) < 2:
        return change, 0.0
    rests = [mine - theirs - change * size for mine, theirs, size in zip(bits, others, sizes, strict=True)]
    return change, statistics.stdev(rests) * len(sizes) ** 0.5 / total


def sample_of(slices: Mapping[str, Sequence[bytes]], document_bytes: int, total_bytes: int) -> list[bytes]:
    """The beginnings of documents, in turn of each slice, until there are `total_bytes`.

    Cut at line ends, so that no character is broken.
    """
    queues = [list(texts) for texts in slices.values()]
    sample: list[bytes] = []
    room = total_bytes
    while room > 0 and any(queues):
        for queue in filter(None, queues):
            text = queue.pop(0)[:document_bytes]
            text = text[: text.rfind(b"\n") + 1] or text
            sample.append(text)
            room -= len(text)
    return sample
