"""Documents to compare tokenizers on, from what the machine already has: no network, no data of our own.

The interpreter's standard library is always there. Debian packages add to it where they are installed: man pages
(manpages-dev, manpages-ja, manpages-zh), Python's documentation (python3-doc) and a dictionary (dict-gcide).
Documents are held out by the hash of their content, so that the split is the same on every machine.
"""

from __future__ import annotations

import gzip
import hashlib
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MIN_DOCUMENT_BYTES, MAX_DOCUMENT_BYTES = 200, 1 << 16
HELD_OUT = 26 / 256
RANDOM_SLICE, RANDOM_BYTES = "random bytes", 100_000
SHARES = {"code": 0.4, "english": 0.3, "markup": 0.2, "cjk": 0.1}  # of the bytes asked for


@dataclass(frozen=True, slots=True)
class Documents:
    """training: all slices mixed. held_out: by slice. sources: where they are from, for the report."""

    training: list[bytes]
    held_out: Mapping[str, list[bytes]]
    sources: tuple[str, ...]

    @property
    def text(self) -> dict[str, list[bytes]]:
        """The held-out slices that are text."""
        return {name: texts for name, texts in self.held_out.items() if name != RANDOM_SLICE}

    @property
    def training_bytes(self) -> int:
        return sum(map(len, self.training))


def gather(num_bytes: int) -> Documents:
    """About `num_bytes` of documents; a slice that the machine has little of stays small."""
    library = Path(sysconfig.get_paths()["stdlib"])
    manual, python = Path("/usr/share/man"), Path("/usr/share/doc/python3/html").resolve()
    folders = {
        "code": [(library, "*.py")],
        "english": [(python / "_sources", "*.txt"), (library / "pydoc_data", "topics.py")],
        "markup": [(manual / f"man{section}", "*.gz") for section in (2, 3, 7)] + [(python / "library", "*.html")],
        "cjk": [(manual / "ja", "*.gz"), (manual / "zh_CN", "*.gz"), (library / "test/cjkencodings", "*-utf8.txt")],
    }
    slices: dict[str, list[bytes]] = {}
    sources: list[str] = []
    for name, places in folders.items():
        room = int(num_bytes * SHARES[name])
        found = list(_dictionary(room // 2)) if name == "english" else []
        sources += ["dict-gcide"] if found else []
        for place, pattern in places:
            if place.is_dir():
                sources.append(f"{place.name}/{pattern}" if place != library else "Python's standard library")
        found += _read(places, room - sum(map(len, found)))
        slices[name] = list(dict.fromkeys(found))
    held_out = {name: [text for text in texts if _is_held_out(text)] for name, texts in slices.items()}
    held_out[RANDOM_SLICE] = [np.random.default_rng(0).bytes(RANDOM_BYTES)]
    training = [text for texts in slices.values() for text in texts if not _is_held_out(text)]
    return Documents(training, {name: texts for name, texts in held_out.items() if texts}, tuple(sources))


def from_folder(folder: Path, num_bytes: int) -> Documents:
    """The same split over somebody's own files: one slice."""
    texts = _read([(folder, "*")], num_bytes)
    held_out = {folder.name: [text for text in texts if _is_held_out(text)] or texts[:1]}
    training = [text for text in texts if not _is_held_out(text)]
    return Documents(training, held_out, (str(folder),))


def _is_held_out(text: bytes) -> bool:
    return hashlib.sha256(text).digest()[0] < HELD_OUT * 256


def _read(places: list[tuple[Path, str]], room: int) -> list[bytes]:
    files = [path for place, pattern in places for path in place.rglob(pattern) if "site-packages" not in path.parts]
    files.sort(key=lambda path: hashlib.sha256(path.name.encode()).digest())
    texts = []
    for path in files:
        if room <= 0:
            break
        if not path.is_file() or path.is_symlink():
            continue
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = text[:MAX_DOCUMENT_BYTES]
        if len(text) >= MIN_DOCUMENT_BYTES and b"\0" not in text:
            texts.append(text)
            room -= len(text)
    return texts


def _dictionary(room: int) -> Iterator[bytes]:
    """Entries of the GNU dictionary of English, some 16 kB to a document, spread over the alphabet."""
    path = Path("/usr/share/dictd/gcide.dict.dz")
    if not path.exists() or room <= 0:
        return
    text = gzip.decompress(path.read_bytes())
    size = 16_384
    step = max(1, len(text) // size * size // max(room, size))
    for begin in range(0, len(text) - size, size * step):
        yield text[text.index(b"\n", begin) + 1 : begin + size]
