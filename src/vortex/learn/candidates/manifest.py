"""A run folder's manifest: an in-toto style statement that names the SHA-256 of every file of the run.

    data/continuous/quarantine/<run_id>/
      adapter/adapter_config.json  adapter/adapter_model.safetensors    in peft's format
      data.jsonl        each row that was trained on, with where it came from
      recipe.json       settings, seeds, versions
      evaluation.json   what was measured, and the gates
      manifest.json     this statement; its own SHA-256 is the candidate's hash, which a person approves
      APPROVE.txt  REJECTED.txt    a person's word; not part of the run

Promises that `verify` lets nothing pass but the very bytes that were sealed. Decides nothing about their worth.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vortex.errors import CandidateRefused
from vortex.records.atomic import atomic_write
from vortex.records.scratch import OWNER_FILE

MANIFEST_FILE, APPROVAL_FILE, REJECTION_FILE = "manifest.json", "APPROVE.txt", "REJECTED.txt"
ADAPTER_FOLDER, DATA_FILE, RECIPE_FILE, EVALUATION_FILE = "adapter", "data.jsonl", "recipe.json", "evaluation.json"
REQUIRED = (
    f"{ADAPTER_FOLDER}/adapter_config.json",
    f"{ADAPTER_FOLDER}/adapter_model.safetensors",
    DATA_FILE,
    RECIPE_FILE,
    EVALUATION_FILE,
)
OUTSIDE = frozenset({MANIFEST_FILE, APPROVAL_FILE, REJECTION_FILE, OWNER_FILE})
PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "urn:vortex:candidate:v1"
MAX_MANIFEST_BYTES = 1 << 20
RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """hash: `sha256:…` of the manifest's bytes. files: SHA-256 by name. predicate: what the run says of itself."""

    folder: Path
    hash: str
    files: Mapping[str, str]
    predicate: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        return str(self.predicate["run_id"])

    @property
    def model(self) -> str:
        return str(self.predicate["model"])

    @property
    def adapter_hash(self) -> str:
        return str(self.predicate["adapter_hash"])

    @property
    def learnt_from_web(self) -> bool:
        """Something of it came from web pages, which anybody may write: a person must look before it is promoted."""
        return "web" in self.predicate.get("sources", ())

    @property
    def adapter_folder(self) -> Path:
        return self.folder / ADAPTER_FOLDER


def seal(folder: Path, predicate: Mapping[str, Any]) -> Manifest:
    """Write the manifest of all files in the folder, which must be all that a run has. Raises OSError."""
    names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    missing = set(REQUIRED) - set(names)
    assert not missing, f"a run is sealed with all its files; without {missing}"
    statement = {
        "_type": STATEMENT,
        "predicateType": PREDICATE,
        "subject": [{"name": name, "digest": {"sha256": sha256_of(folder / name)}} for name in names],
        "predicate": dict(predicate),
    }
    with atomic_write(folder / MANIFEST_FILE) as file:
        file.write(json.dumps(statement, ensure_ascii=False, indent=1).encode())
    return read_manifest(folder)


def read_manifest(folder: Path) -> Manifest:
    """Without looking at the files it names. Raises CandidateRefused."""
    path = folder / MANIFEST_FILE
    try:
        if folder.is_symlink() or path.is_symlink():
            raise CandidateRefused(f"{folder} is reached by a symbolic link; a run is a folder of its own")
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
        statement = json.loads(data)
        if statement["_type"] != STATEMENT or statement["predicateType"] != PREDICATE:
            raise ValueError("it is another kind of statement")
        files = {str(entry["name"]): str(entry["digest"]["sha256"]) for entry in statement["subject"]}
        predicate = statement["predicate"]
        if not all(isinstance(predicate[key], str) for key in ("run_id", "model", "adapter_hash")):
            raise ValueError("it does not say which run it is")
        if len(files) != len(statement["subject"]) or not set(REQUIRED) <= files.keys():
            raise ValueError("it does not name every file once")
    except OSError as error:
        raise CandidateRefused(
            f"{folder} is no whole run: {MANIFEST_FILE} cannot be read ({error.strerror})"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CandidateRefused(f"{path} is damaged ({error}); train again") from error
    return Manifest(folder, f"sha256:{hashlib.sha256(data).hexdigest()}", files, predicate)


def verify(folder: Path) -> Manifest:
    """The manifest, if the folder holds exactly what was sealed. Raises CandidateRefused with the reason."""
    manifest = read_manifest(folder)
    found = {path.relative_to(folder).as_posix() for path in _files(folder)}
    for name in sorted(found - manifest.files.keys()):
        if Path(name).suffix in PICKLES:
            raise CandidateRefused(f"{folder / name} is a pickle, which runs code when it is read; remove it")
        raise CandidateRefused(f"{folder / name} is not part of the run; remove it")
    for name, digest in manifest.files.items():
        if name not in found:
            raise CandidateRefused(f"{folder} lacks {name}, which is part of the run; train again")
        if sha256_of(folder / name) != digest:
            raise CandidateRefused(f"{folder / name} was changed after the run was sealed; train again")
    if not RUN_ID.fullmatch(manifest.run_id):
        raise CandidateRefused(f"{folder} calls its run {manifest.run_id!r}, which no training does")
    return manifest


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """Files of the run; what is neither file nor folder is refused."""
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise CandidateRefused(f"{path} is a symbolic link; a run holds files of its own alone")
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            raise CandidateRefused(f"{path} is no regular file; remove it")
        if path.relative_to(folder).as_posix() not in OUTSIDE:
            yield path
