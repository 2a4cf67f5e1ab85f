"""The tokenizers whose small models are compared, kept in a folder with the documents they were trained on.

Prepared once, perhaps on another machine than the one that trains the models: `documents.zip`, `bpe.json`,
`superbpe.json` and a folder for each parse of Vortex-Tok. What is there already is not made again.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from vortex.bench.tokenizer.corpora import Documents
from vortex.bench.tokenizer.peers import Contender, contender_of, train_bpe, train_superbpe
from vortex.errors import ModelNotFound
from vortex.machine.cores import usable_cores
from vortex.records.atomic import atomic_write
from vortex.tokenizer.vortex_tok import Parse, TrainingSettings, corpus_of, load_vortex_tokenizer, train
from vortex.tokenizer.vortex_tok.core import IS_NATIVE

OURS = "Vortex-Tok"
PEERS: dict[str, tuple[str, Callable[[Sequence[bytes], int], Any]]] = {
    "BPE": ("bpe.json", train_bpe),
    "SuperBPE": ("superbpe.json", train_superbpe),
}
PARSES = {f"{OURS} {parse}": parse for parse in (Parse.FEWEST, Parse.UNIGRAM, Parse.GREEDY)}
VARIANTS = (*PEERS, *PARSES)
DOCUMENTS_FILE = "documents.zip"
MAX_PROCESSES, MIN_PROCESSES = 16, 4
DOCUMENTS_A_JOB = 32


def prepare(
    folder: Path,
    documents: Documents,
    vocab_size: int,
    say: Callable[[str], None],
    names: Sequence[str] = VARIANTS,
) -> None:
    """Train what `folder` lacks of `names`."""
    if not (folder / DOCUMENTS_FILE).exists():
        _save_documents(folder / DOCUMENTS_FILE, documents)
    for name, (file_name, learn) in PEERS.items():
        if name in names and not (folder / file_name).exists():
            say(f"training {name} at {vocab_size}")
            with atomic_write(folder / file_name) as file:
                file.write(learn(documents.training, vocab_size).to_str().encode())
    for name, parse in PARSES.items():
        if name in names and not (folder / parse / "vortex-tok.json").exists():
            say(f"training {name} at {vocab_size}")
            settings = TrainingSettings(vocab_size=vocab_size, parse=parse)
            train(corpus_of(documents.training), settings, folder / parse, {}, lambda _: None)


def load_variant(folder: Path, name: str) -> Contender:
    """One of VARIANTS. Raises ModelNotFound where `prepare` has not made it."""
    if name in PARSES:
        ours = load_vortex_tokenizer(folder / PARSES[name])
        return Contender(name, ours.vocab_size, ours.encode_bytes, ours.decode_bytes)
    from tokenizers import Tokenizer

    path = folder / PEERS[name][0]
    if not path.exists():
        raise ModelNotFound(f"no tokenizer {path}: prepare the folder first")
    return contender_of(name, Tokenizer.from_file(str(path)))


def load_documents(folder: Path) -> Documents:
    """As `prepare` kept them. Raises ModelNotFound."""
    path = folder / DOCUMENTS_FILE
    if not path.exists():
        raise ModelNotFound(f"no documents in {folder}: prepare the folder first")
    training: list[bytes] = []
    held_out: dict[str, list[bytes]] = {}
    with zipfile.ZipFile(path) as archive:
        sources = archive.comment.decode().split(", ")
        for entry in archive.namelist():
            kind = entry.rpartition("/")[0]
            (training if kind == "training" else held_out.setdefault(kind, [])).append(archive.read(entry))
    return Documents(training, held_out, tuple(sources))


def encode_texts(folder: Path, name: str, texts: Sequence[bytes]) -> list[np.ndarray]:
    """Ids [tokens] int32 of every text; slow tokenizers share the work among processes where there are cores."""
    processes = min(MAX_PROCESSES, usable_cores())
    if (IS_NATIVE and name in PARSES) or processes < MIN_PROCESSES:
        return _encode_part(folder, name, texts)
    parts = [texts[at : at + DOCUMENTS_A_JOB] for at in range(0, len(texts), DOCUMENTS_A_JOB)]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        jobs = [pool.submit(_encode_part, folder, name, part) for part in parts]
        return [ids for job in jobs for ids in job.result()]


def _encode_part(folder: Path, name: str, texts: Sequence[bytes]) -> list[np.ndarray]:
    variant = load_variant(folder, name)
    return [np.asarray(variant.encode(text), np.int32) for text in texts]


def _save_documents(path: Path, documents: Documents) -> None:
    slices = {"training": documents.training, **documents.held_out}
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        for kind, texts in slices.items():
            for number, text in enumerate(texts):
                archive.writestr(f"{kind}/{number:06}", text)
        archive.comment = ", ".join(documents.sources).encode()
