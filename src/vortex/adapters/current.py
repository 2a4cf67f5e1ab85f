"""Which adapter `MODEL:current` means: a pointer in a small file, moved atomically, asked by whoever serves.

The file is the whole state: a reader sees the old pointer or the new one, also after a crash. It names the folder and
the hash that was approved; whoever loads it checks the hash (bank.py). Without a file the model answers alone. A
pointer to what this user never promoted (promoted_here.py) is refused: it came with the folder.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from vortex.adapters.promoted_here import PromotedHere
from vortex.errors import AdapterError
from vortex.records.atomic import atomic_write, sync_folder


@dataclass(frozen=True, slots=True)
class Promoted:
    """hash: as `Adapter.hash`. run_id: of the run that it came from; empty for one that was only named."""

    folder: Path
    hash: str
    run_id: str = ""


class Current:
    """The pointer of one model. root: the folder of all such pointers (`data/continuous/current`). here: what this
    user promoted; None: any pointer counts, for folders that nobody else can have written."""

    def __init__(self, root: Path, model: str, here: PromotedHere | None = None) -> None:
        self._model, self._here = model, here
        self.file = root / f"{re.sub(r'[^A-Za-z0-9._-]+', '--', model)}.json"

    def read(self) -> Promoted | None:
        """None: nothing was promoted. Raises AdapterError where the file is damaged, or not of this user's making."""
        try:
            values = json.loads(self.file.read_bytes())
            folder, digest, run_id = values["folder"], values["hash"], values["run_id"]
            if not all(isinstance(text, str) for text in (folder, digest, run_id)) or not digest:
                raise ValueError("no folder and hash")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise AdapterError(f"{self.file} is damaged ({error}); set it anew with: vortex learn rollback") from error
        if self._here is not None and not self._here.holds(self._model, digest):
            raise AdapterError(
                f"{self.file} points to an adapter that you never promoted (it came with the folder); "
                "`vortex learn rollback` removes the pointer, `vortex learn show` shows what is there"
            )
        return Promoted(self.file.parent / folder, digest, run_id)  # an absolute folder stays as it is

    def set(self, promoted: Promoted) -> None:
        """From now on this is the current one. A folder beside the pointers' is kept as a relative path.

        Raises OSError, StorageError.
        """
        folder, near = promoted.folder.resolve(), self.file.parent.parent.resolve()
        kept = Path("..") / folder.relative_to(near) if folder.is_relative_to(near) else folder
        if self._here is not None:  # before the pointer: a kill between leaves the old one, which counts
            self._here.note(self._model, promoted.hash, promoted.run_id)
        values = {"folder": kept.as_posix(), "hash": promoted.hash, "run_id": promoted.run_id}
        with atomic_write(self.file) as file:
            file.write(json.dumps(values, indent=1).encode())

    def clear(self) -> None:
        """From now on the model answers alone."""
        self.file.unlink(missing_ok=True)
        if self.file.parent.exists():
            sync_folder(self.file.parent)
