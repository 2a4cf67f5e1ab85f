"""Training a vocabulary: PATCH candidates, MACRO candidates, pruning, costs; each step is kept, so that it can go on.

Promises: the same corpus and settings give the same vocabulary, byte for byte, also when the run was interrupted and
resumed; the folder holds a whole tokenizer or none. Memory is some twenty times the corpus, which `limit_bytes` bounds.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from vortex.errors import RequestError
from vortex.records.atomic import atomic_write
from vortex.tokenizer.vortex_tok.candidates import macro_candidates, patch_candidates
from vortex.tokenizer.vortex_tok.corpus import Corpus
from vortex.tokenizer.vortex_tok.files import save_vocabulary
from vortex.tokenizer.vortex_tok.pruning import Pieces, prune, without_idle
from vortex.tokenizer.vortex_tok.vocabulary import DEFAULT_SPECIALS, NUM_ESC, Parse, Vocabulary

RECIPE = 1  # changes when the same corpus would give another vocabulary
MIN_LEARNT_CODES = 64
PROGRESS_FOLDER = ".training"
STEP_FILE = "step.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """vocab_size: all ids, single bytes and special tokens included. min_uses: no learnt code is rarer in training."""

    vocab_size: int = 16384
    parse: Parse = Parse.UNIGRAM
    min_uses: int = 8
    specials: tuple[str, ...] = DEFAULT_SPECIALS

    def __post_init__(self) -> None:
        if self.vocab_size < self.smallest:
            raise RequestError(
                f"--vocab-size {self.vocab_size} is too small: {NUM_ESC} single bytes, {len(self.specials)} special "
                f"tokens and {MIN_LEARNT_CODES} learnt codes need {self.smallest}"
            )

    @property
    def smallest(self) -> int:
        return NUM_ESC + len(self.specials) + MIN_LEARNT_CODES

    @property
    def num_codes(self) -> int:
        return self.vocab_size - len(self.specials)


class CorpusTooSmall(RequestError):
    """The text does not fill the vocabulary. `possible_size`: what it fills, all ids counted; 0 where that is none."""

    def __init__(self, vocab_size: int, possible_size: int, smallest: int) -> None:
        super().__init__(
            f"the corpus is too small or too uniform for --vocab-size {vocab_size}: it has {possible_size} pieces "
            "that occur often enough; ask for fewer or add text"
        )
        self.possible_size = possible_size if possible_size >= smallest else 0


class _Steps:
    """What an interrupted run had reached, in the output folder; forgotten when corpus or settings differ."""

    def __init__(self, folder: Path, key: str) -> None:
        self._path = folder / STEP_FILE
        self._key = key
        self.pieces: dict[str, Pieces] = {}
        try:
            saved = json.loads(self._path.read_bytes())
            if saved["key"] == key:
                self.pieces = {
                    name: tuple(bytes.fromhex(piece) for piece in pieces) for name, pieces in saved["pieces"].items()
                }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # nothing usable was left behind: start from the beginning

    def save(self, **pieces: Pieces) -> None:
        """Only what the rest of the run needs."""
        self.pieces = pieces
        spelled = {name: [piece.hex() for piece in some] for name, some in pieces.items()}
        with atomic_write(self._path) as file:
            file.write(json.dumps({"key": self._key, "pieces": spelled}).encode())


def train(
    corpus: Corpus, settings: TrainingSettings, folder: Path, origin: dict[str, str], say: Callable[[str], None]
) -> Vocabulary:
    """Learn a vocabulary and save it in `folder`; `origin` (corpus, licence) is written beside it.

    `say` hears a line per step. Raises RequestError where the corpus is too small for the vocabulary.
    """
    fingerprint = corpus.fingerprint()
    key = hashlib.sha256(repr((RECIPE, fingerprint, settings)).encode()).hexdigest()
    progress = folder / PROGRESS_FOLDER
    steps = _Steps(progress, key)
    try:
        pieces, reserve = _learn_pieces(corpus, settings, steps, say)
    except RequestError:
        _forget(progress)
        raise
    say("finding the cost of every code")
    pieces, costs = without_idle(corpus, pieces, reserve, settings.parse, settings.min_uses)
    vocabulary = Vocabulary(pieces, costs, settings.parse, settings.specials)
    described = asdict(settings) | {"recipe": RECIPE, "corpus_bytes": len(corpus.data), "corpus_sha256": fingerprint}
    del described["specials"]
    save_vocabulary(vocabulary, folder, origin | described)
    _forget(progress)
    return vocabulary


def _forget(progress: Path) -> None:
    """Leave no step behind, nor a folder that was made for the steps alone."""
    shutil.rmtree(progress, ignore_errors=True)
    folder = progress.parent
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _learn_pieces(
    corpus: Corpus, settings: TrainingSettings, steps: _Steps, say: Callable[[str], None]
) -> tuple[Pieces, Pieces]:
    """The pieces that stay, and those dropped last."""
    num_codes = settings.num_codes
    reached = steps.pieces
    if reached:
        say(f"going on where an earlier run stopped ({len(next(iter(reached.values()))):,} pieces)")
    if "left" not in reached:
        if "patches" not in reached:
            say(f"PATCH: merging inside the words of {len(corpus.data) / 1e6:.1f} MB")
            steps.save(patches=patch_candidates(corpus, num_codes))
        patches = steps.pieces["patches"]
        say(f"MACRO: merging across words, from {len(patches):,} patches")
        candidates = macro_candidates(corpus, patches, num_codes)
        if len(candidates) < num_codes:
            num_ids = len(candidates) + len(settings.specials)
            raise CorpusTooSmall(settings.vocab_size, num_ids, settings.smallest)
        steps.save(left=candidates)

    def keep(left: Pieces) -> None:
        say(f"pruning: {len(left):,} pieces left, {num_codes:,} wanted")
        if len(left) > num_codes:  # the last round is repeated on resuming: it also gives the reserve
            steps.save(left=left)

    return prune(corpus, steps.pieces["left"], num_codes, keep)
