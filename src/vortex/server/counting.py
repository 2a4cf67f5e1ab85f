"""The backend as one that knows its model's tokens, for the routes that count and spell them."""

from __future__ import annotations

from vortex.errors import MissingCapability
from vortex.protocols import TokenCounter
from vortex.server.serving import Serving


def counter_of(serving: Serving) -> TokenCounter:
    """Raises MissingCapability for a backend that does not know them: an engine behind a wire."""
    if isinstance(serving.backend, TokenCounter):
        return serving.backend
    raise MissingCapability("this server does not know its model's tokens; ask the engine behind it")
