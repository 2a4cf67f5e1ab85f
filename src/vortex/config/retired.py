"""Settings that are gone: a file that still names one goes on working, and its user is told in one line why."""

from __future__ import annotations

from collections.abc import Mapping

RETIRED: Mapping[str, str] = {
    "bad.adjacency": "the table of pairs brought nothing beside the other drafters",
}
"""By key, why."""
