"""A backend as one that knows its model's tokens, for whoever counts and spells them."""

from __future__ import annotations

from vortex.errors import MissingCapability
from vortex.protocols import ChatBackend, TokenCounter


def counter_of(backend: ChatBackend) -> TokenCounter:
    """Raises MissingCapability for a backend that does not know them: an engine behind a wire."""
    if isinstance(backend, TokenCounter):
        return backend
    raise MissingCapability("this backend does not know its model's tokens; ask the engine behind it")
