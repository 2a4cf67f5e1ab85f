"""A vocabulary on disk: a folder with `vortex-tok.json` and a front-coded trie beside it (docs/tokenizer.md).

Promises that what loads is whole: sizes, order, checksum and fingerprint are verified, and a folder is either written
completely or not at all (the JSON file is renamed into place last and names the trie file by its checksum).
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vortex.errors import ModelFileError, ModelNotFound
from vortex.records.atomic import atomic_write
from vortex.records.foreign import read_json, shown
from vortex.tokenizer.vortex_tok.vocabulary import CodeClass, Parse, Vocabulary, ordered_pieces

HEAD_FILE = "vortex-tok.json"
FORMAT = "vortex-tok"
VERSION = 1
TRIE_MAGIC = b"VXTTRIE1"
MAX_TRIE_FILE_BYTES = 1 << 28
_TRIE_NAME = re.compile(r"pieces-[0-9a-f]{1,64}\.trie")
SHIPPED_FOLDER = Path(__file__).parent / "shipped"


def save_vocabulary(vocabulary: Vocabulary, folder: Path, training: Mapping[str, Any]) -> None:
    """Write the folder. `training` is kept as it is: corpus, licence, settings; nothing reads it but people."""
    trie = pack_trie(vocabulary)
    checksum = hashlib.sha256(trie).hexdigest()
    name = f"pieces-{checksum[:12]}.trie"
    head = {
        "format": FORMAT,
        "version": VERSION,
        "parse": vocabulary.parse.value,
        "codes": {kind.value: vocabulary.count(kind) for kind in (CodeClass.ESC, CodeClass.PATCH, CodeClass.MACRO)},
        "specials": list(vocabulary.specials),
        "trie": {"file": name, "bytes": len(trie), "sha256": checksum},
        "fingerprint": vocabulary.fingerprint().hex(),
        "training": dict(training),
    }
    with atomic_write(folder / name) as file:
        file.write(trie)
    with atomic_write(folder / HEAD_FILE) as file:
        file.write((json.dumps(head, indent=2, ensure_ascii=False) + "\n").encode())
    for old in folder.glob("pieces-*.trie"):
        if old.name != name:
            old.unlink()


def read_head(folder: Path) -> dict[str, Any]:
    """The JSON file of a vocabulary folder. Raises ModelNotFound, ModelFileError."""
    path = folder / HEAD_FILE
    if not path.is_file():
        raise ModelNotFound(f"no tokenizer in {folder}: it has no {HEAD_FILE} (vortex tokenizer-train makes one)")
    head = read_json(path.read_bytes(), str(path))
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise ModelFileError(f"{path} is not a Vortex-Tok tokenizer")
    if head.get("version") != VERSION:
        raise ModelFileError(
            f"{path} has format version {shown(head.get('version'))}; this program reads version {VERSION}"
        )
    return head


def load_vocabulary(folder: Path = SHIPPED_FOLDER) -> Vocabulary:
    """The vocabulary of a folder (without one: the vocabulary that ships with the program).

    Raises ModelNotFound where there is none, ModelFileError where it is damaged or foreign.
    """
    head = read_head(folder)
    damaged = f"the tokenizer in {folder} is damaged"
    try:
        name, checksum, parse = head["trie"]["file"], head["trie"]["sha256"], Parse(head["parse"])
        specials = tuple(str(special) for special in head["specials"])
        "".join(specials).encode()  # a lone surrogate is no text
        counts = {CodeClass(kind): int(count) for kind, count in head["codes"].items()}
        fingerprint = bytes.fromhex(head["fingerprint"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = str(error)[:200]
        raise ModelFileError(f"{damaged}: {HEAD_FILE} lacks or misspells {reason}; train or copy it again") from error
    if not isinstance(name, str) or not _TRIE_NAME.fullmatch(name):
        raise ModelFileError(f"{damaged}: {HEAD_FILE} names {shown(name)} as its file; copy the whole folder")
    path = folder / name
    if path.parent != folder or not path.is_file():
        raise ModelFileError(f"{damaged}: its file {name} is missing; copy the whole folder")
    if path.stat().st_size > MAX_TRIE_FILE_BYTES:
        raise ModelFileError(f"{damaged}: {name} is larger than a vocabulary can be")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != checksum:
        raise ModelFileError(f"{damaged}: {name} does not match its checksum; train or copy it again")
    costs = unpack_trie(data)
    pieces = ordered_pieces(set(costs))
    vocabulary = Vocabulary(pieces, tuple(costs[piece] for piece in pieces), parse, specials)
    if any(vocabulary.count(kind) != count for kind, count in counts.items()):
        raise ModelFileError(f"{damaged}: {HEAD_FILE} and {name} disagree about the number of codes")
    if vocabulary.fingerprint() != fingerprint:
        raise ModelFileError(f"{damaged}: {HEAD_FILE} was changed by hand; its fingerprint does not fit")
    return vocabulary


def pack_trie(vocabulary: Vocabulary) -> bytes:
    """Pieces in byte order; each as (bytes shared with the one before, more bytes, those bytes, cost)."""
    out = bytearray(TRIE_MAGIC + struct.pack("<I", vocabulary.num_codes))
    before = b""
    for piece, cost in sorted(zip(vocabulary.pieces, vocabulary.costs, strict=True)):
        shared = 0
        while shared < min(len(before), len(piece)) and before[shared] == piece[shared]:
            shared += 1
        out += struct.pack("<BB", shared, len(piece) - shared) + piece[shared:] + struct.pack("<I", cost)
        before = piece
    return bytes(out)


def unpack_trie(data: bytes) -> dict[bytes, int]:
    """Piece -> cost. Raises ModelFileError for anything `pack_trie` would not have written."""
    if data[: len(TRIE_MAGIC)] != TRIE_MAGIC:
        raise ModelFileError("not a Vortex-Tok trie file")
    costs: dict[bytes, int] = {}
    before = b""
    try:
        (count,) = struct.unpack_from("<I", data, len(TRIE_MAGIC))
        at = len(TRIE_MAGIC) + 4
        for _ in range(count):
            shared, more = struct.unpack_from("<BB", data, at)
            suffix = data[at + 2 : at + 2 + more]
            (cost,) = struct.unpack_from("<I", data, at + 2 + more)
            piece = before[:shared] + suffix
            if shared > len(before) or piece <= before:
                raise ModelFileError("a damaged Vortex-Tok trie file: its pieces are out of order")
            costs[piece] = cost
            before = piece
            at += 6 + more
    except struct.error as error:
        raise ModelFileError("a damaged Vortex-Tok trie file: it ends early") from error
    if at != len(data):
        raise ModelFileError("a damaged Vortex-Tok trie file: bytes after its end")
    return costs
