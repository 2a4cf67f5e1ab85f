"""`vortex bench tokenizer`: Vortex-Tok beside BPE, tiktoken and SuperBPE, all trained on the same documents in one run.

Checks first that every held-out byte comes back. Then: tokens per slice, speed in turns, the doubling of adversarial
input, a training under the clock, and bits per byte of one small model on each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vortex.bench.measurement import CheckFailed, run_measurement
from vortex.bench.report import Report
from vortex.bench.tokenizer.corpora import RANDOM_SLICE, Documents
from vortex.bench.tokenizer.peers import Contender, contender_of, tiktoken_of, train_bpe, train_superbpe
from vortex.bench.tokenizer.speed import Rates, doubling_ratios, rates, time_training
from vortex.bench.tokenizer.variants import OURS
from vortex.tokenizer.vortex_tok import Parse, TrainingSettings, corpus_of, load_vortex_tokenizer, train

SPEED_BYTES = 400_000
TRAINING_SIZE = 16384
HARD = (b"", b"<|end|>", bytes(range(256)) * 4, "naïve 日本語 🙂\u200d\n".encode() * 9, b"\xf0\x9f\x99", b"\xff" * 999)


@dataclass(frozen=True, slots=True)
class Result:
    """tokens: of held-out text, by slice. saved_share: of BPE's tokens. The last two only where measured."""

    name: str
    tokens: Mapping[str, int]
    saved_share: float
    rates: Rates
    random_tokens: int | None
    bits_per_byte: float | None

    def row(self) -> list[str]:
        """Tokens in thousands; the table must fit 80 columns."""
        return [
            self.name,
            *(f"{count / 1000:.1f}" for count in self.tokens.values()),
            f"{sum(self.tokens.values()) / 1000:.1f}",
            f"{self.saved_share:.1%}",
            f"{self.rates.encode:.1f}",
            f"{self.rates.decode:.1f}",
            "" if self.bits_per_byte is None else f"{self.bits_per_byte:.3f}",
        ]


@dataclass
class TokenizerMeasurement:
    """vocab_sizes: those compared; small models are trained at the first. parse: how ours cuts text. quality_minutes:
    for all small models together, 0 for none. timed_training: also train under the clock. doubling_bytes: of the
    shorter adversarial input. say: hears progress."""

    documents: Documents
    vocab_sizes: Sequence[int] = (8192, 32768)
    parse: str = "unigram"
    quality_minutes: float = 5.0
    timed_training: bool = True
    doubling_bytes: int = 500_000
    say: Callable[[str], None] = print
    contenders: dict[int, list[Contender]] = field(default_factory=dict)

    def check(self) -> None:
        """Train everything. Every byte must come back through ours, and text through the others."""
        for size in self.vocab_sizes:
            self.contenders[size] = list(self._train(size))
            for contender in self.contenders[size]:
                for texts in self.documents.text.values():
                    _check(contender, texts)
            _check(self.contenders[size][-1], [*HARD, *self.documents.held_out.get(RANDOM_SLICE, [])])

    def measure(self) -> Report:
        results = [result for size in self.vocab_sizes for result in self._compare(size)]
        ratios = doubling_ratios(self.contenders[self.vocab_sizes[-1]][-1], self.doubling_bytes)
        figures: dict[str, object] = {result.name: asdict(result) for result in results}
        figures |= {"doubling_ratio": ratios, "training_bytes": self.documents.training_bytes}
        figures["sources"] = list(self.documents.sources)
        title = [
            f"{OURS} beside its peers, all trained on {self.documents.training_bytes / 1e6:.1f} MB",
            "thousands of held-out tokens; MB/s, one thread; bits per byte of a small model",
            f"twice the bytes of one pattern take {min(ratios.values())} to {max(ratios.values())} times as long",
        ]
        if self.timed_training:
            self.say(f"training at {TRAINING_SIZE} under the clock")
            seconds, peak_mb = time_training(self.documents.training, TRAINING_SIZE)
            title.append(f"training {TRAINING_SIZE} ids takes {seconds:.0f} s and {peak_mb or 0:.0f} MB")
            figures |= {
                "training_s": round(seconds, 1),
                "training_peak_mb": peak_mb,
                "training_vocab_size": TRAINING_SIZE,
            }
        columns = ["", *self.documents.text, "all", "saved", "enc", "dec", "bits/B"]
        held_out_bytes = sum(len(text) for texts in self.documents.text.values() for text in texts)
        bars = {result.name: held_out_bytes / sum(result.tokens.values()) for result in results}
        rows = [result.row() for result in results]
        return Report("tokenizer", "\n".join(title), columns, rows, figures, bars, "bytes per token, held-out text")

    def _train(self, size: int) -> Sequence[Contender]:
        """BPE first, ours last."""
        self.say(f"training at {size}: BPE")
        bpe = train_bpe(self.documents.training, size)
        self.say(f"training at {size}: SuperBPE")
        superbpe = train_superbpe(self.documents.training, size)
        self.say(f"training at {size}: {OURS}")
        settings = TrainingSettings(vocab_size=size, parse=Parse(self.parse))
        with tempfile.TemporaryDirectory() as folder:
            train(corpus_of(self.documents.training), settings, Path(folder), {}, lambda _: None)
            ours = load_vortex_tokenizer(Path(folder))
        own = Contender(OURS, ours.vocab_size, ours.encode_bytes, ours.decode_bytes)
        made = (contender_of("BPE", bpe), tiktoken_of(bpe), contender_of("SuperBPE", superbpe), own)
        return [contender for contender in made if contender]

    def _compare(self, size: int) -> list[Result]:
        contenders = self.contenders[size]
        speed = rates(contenders, self._speed_sample())
        quality = self._quality(size) if self.quality_minutes and size == self.vocab_sizes[0] else {}
        results: list[Result] = []
        for contender in contenders:
            tokens = {name: contender.count(texts) for name, texts in self.documents.text.items()}
            first = sum(results[0].tokens.values()) if results else sum(tokens.values())
            noise = self.documents.held_out.get(RANDOM_SLICE)
            results.append(
                Result(
                    f"{contender.name} {size}",
                    tokens,
                    round(1 - sum(tokens.values()) / first, 4),
                    speed[contender.name],
                    contender.count(noise) if noise and contender.name == OURS else None,
                    quality.get(contender.name),
                )
            )
        return results

    def _speed_sample(self) -> list[bytes]:
        sample, room = [], SPEED_BYTES
        for text in self.documents.training[::7] + self.documents.training[1::7]:
            if room > 0:
                sample.append(text)
                room -= len(text)
        return sample

    def _quality(self, size: int) -> dict[str, float]:
        """By contender: bits per byte of the same small model, all on the documents of this run."""
        from vortex.bench.tokenizer.quality import QualityMeasurement
        from vortex.bench.tokenizer.small_transformer import SHAPES
        from vortex.bench.tokenizer.variants import prepare

        names = {"BPE": "BPE", "SuperBPE": "SuperBPE", f"{OURS} {self.parse}": OURS}
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder), self.documents, size, self.say, tuple(names))
            measurement = QualityMeasurement(
                Path(folder), SHAPES["cpu"], tuple(names), minutes=self.quality_minutes, say=self.say
            )
            judged = run_measurement(measurement).bars
        return {names[name]: value for name, value in judged.items()}


def _check(contender: Contender, texts: Sequence[bytes]) -> None:
    ours = contender.name == OURS
    for text in texts:
        codes = contender.encode(text)
        if contender.decode(codes) != (text if ours else text.decode("utf-8", errors="replace").encode()):
            raise CheckFailed(f"{contender.name} does not give {text[:20]!r}… back")
        if ours and len(codes) > len(text):
            raise CheckFailed(f"{contender.name} makes {text[:20]!r}… longer than its bytes")
