"""A person's word on one candidate: `APPROVE.txt` in its folder, holding the candidate's hash.

An approval of anything else is none: of an earlier report, of another adapter, an empty file. Where the settings say
`approval: presence` an empty file counts, as the command's first users wrote it; not for a candidate that learnt from
web pages, which is promoted by its hash alone.
"""

from __future__ import annotations

import re
import stat

from vortex.errors import CandidateRefused
from vortex.learn.candidates.manifest import APPROVAL_FILE, REJECTION_FILE, Manifest

MAX_APPROVAL_BYTES = 4096
_HASH = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE)


def check_approval(manifest: Manifest, *, presence: bool) -> None:
    """Raises CandidateRefused unless this very candidate was approved. presence: an empty file is enough."""
    if (manifest.folder / REJECTION_FILE).exists():
        raise CandidateRefused(
            f"{manifest.run_id} was rejected; remove {manifest.folder / REJECTION_FILE} to reconsider"
        )
    text = _text_of(manifest)
    how = f"write {manifest.hash} into {manifest.folder / APPROVAL_FILE}"
    if not text:
        if presence and not manifest.learnt_from_web:
            return
        if presence:
            raise CandidateRefused(
                f"{manifest.run_id} learnt from web pages, so an empty {APPROVAL_FILE} is not enough; look at it with "
                f"`vortex learn show {manifest.run_id}`, then {how}"
            )
        raise CandidateRefused(
            f"{manifest.folder / APPROVAL_FILE} is empty, so it does not say what it approves; {how} "
            "(or set continuous.approval to presence)"
        )
    match = _HASH.fullmatch(text)
    if match is None:
        raise CandidateRefused(f"{manifest.folder / APPROVAL_FILE} holds no hash; {how}")
    if f"sha256:{match.group(1).lower()}" != manifest.hash:
        raise CandidateRefused(
            f"{manifest.folder / APPROVAL_FILE} approves another candidate than the one that is here; look at it with "
            f"`vortex learn show {manifest.run_id}`, then {how}"
        )


def _text_of(manifest: Manifest) -> str:
    path = manifest.folder / APPROVAL_FILE
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        raise CandidateRefused(
            f"{manifest.run_id} is not approved; look at it with `vortex learn show {manifest.run_id}`, then write "
            f"{manifest.hash} into {path}"
        ) from None
    if stat.S_ISLNK(mode):
        raise CandidateRefused(f"{path} is a symbolic link; an approval is a file of its own")
    if not stat.S_ISREG(mode):
        raise CandidateRefused(f"{path} is no file; write the candidate's hash into one")
    with path.open("rb") as file:
        data = file.read(MAX_APPROVAL_BYTES + 1)
    if len(data) > MAX_APPROVAL_BYTES:
        raise CandidateRefused(f"{path} is longer than an approval; it holds the candidate's hash alone")
    return _decoded(data).strip("\ufeff \t\r\n")


def _decoded(data: bytes) -> str:
    """UTF-8, or UTF-16 as PowerShell's `>` writes it."""
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"
    return data.decode(encoding, errors="replace")
