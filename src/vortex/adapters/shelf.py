"""What a served model answers to: its own name, `NAME:current`, and the adapters by theirs.

    smollm2-135m            the model alone, always
    smollm2-135m:current    with what was promoted last; alone where nothing was
    (no name)               the same as :current, or what this process was told to use
    support-tone            an adapter that was added for this model (store.py), or that this process was given

Promises: what a name means is settled when a request begins, and stays so until it ends, whatever is promoted, added
or removed meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vortex.adapters.bank import AdapterBank, Lease
from vortex.adapters.current import Current, Promoted
from vortex.adapters.store import AdapterStore
from vortex.errors import AdapterError, UnknownModel
from vortex.types import Adapter

CURRENT = "current"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a request is answered with. lease: to be released when it ends; None: the model alone."""

    name: str
    lease: Lease | None = None

    @property
    def adapter(self) -> Adapter | None:
        return self.lease.adapter if self.lease else None

    def release(self) -> None:
        if self.lease is not None:
            self.lease.release()

    def __enter__(self) -> Chosen:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterShelf:
    """given: folders by name that are not in the store. default: what a request gets that names nothing."""

    model: str
    bank: AdapterBank
    store: AdapterStore | None = None
    current: Current | None = None
    given: Mapping[str, Path] = field(default_factory=dict)
    default: str | None = None

    def names(self) -> Sequence[str]:
        """Beside the model's own: what a request may name now."""
        stored = [record.name for record in self.store.list() if record.model == self.model] if self.store else []
        return [*([f"{self.model}:{CURRENT}"] if self.current else []), *dict.fromkeys([*self.given, *stored])]

    def choose(self, name: str | None) -> Chosen:
        """Raises UnknownModel, AdapterError, Overloaded."""
        name = name or self.default
        if name == self.model:
            return Chosen(self.model)
        if name is None or name == f"{self.model}:{CURRENT}":
            promoted = self._promoted()
            if promoted is None:
                return Chosen(name or self.model)
            return Chosen(f"{self.model}:{CURRENT}", self._lease(CURRENT, promoted.folder, promoted.hash))
        if name in self.given:
            return Chosen(name, self._lease(name, self.given[name]))
        record = self.store.find(name) if self.store else None
        if record is None:
            raise UnknownModel(
                f"model '{name}' is not served here; this backend serves '{self.model}' and its adapters; "
                "GET /v1/models lists them"
            )
        if record.model != self.model:
            raise UnknownModel(f"the adapter '{name}' is for {record.model}; this backend serves '{self.model}'")
        return Chosen(name, self._lease(name, record.folder, record.hash))

    def _promoted(self) -> Promoted | None:
        """A client is told no paths."""
        if self.current is None:
            return None
        try:
            return self.current.read()
        except AdapterError as error:
            name = f"the pointer of {self.model}:{CURRENT}"
            raise AdapterError(str(error).replace(str(self.current.file), name)) from error

    def _lease(self, name: str, folder: Path, expected_hash: str | None = None) -> Lease:
        """What goes wrong is told with the name: a client is told no paths."""
        try:
            return self.bank.lease(folder, expected_hash)
        except AdapterError as error:
            raise AdapterError(str(error).replace(str(folder), f"the adapter '{name}'")) from error
