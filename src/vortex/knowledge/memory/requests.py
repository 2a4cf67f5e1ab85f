"""Whether a message asks to remember something, and what. Only a message that begins so counts.

English and Spanish: "remember that …", "please remember: …", "recuerda que …", "/remember …". A sentence about
remembering ("do you remember that day?") asks for nothing. Does not remember anything itself.
"""

from __future__ import annotations

import re

_ASKED = re.compile(
    r"""\A\s*(?:(?:please|por\ favor)[,:]?\s+)?
    (?:/(?:remember|recuerda)\s+(?:(?:that|que)\s+)?
      |(?:remember|note|keep\ in\ mind)\s+that\s+
      |(?:remember|recuerda)\s*:\s*
      |(?:recuerda|acu[eé]rdate\ de|anota|apunta|ten\ en\ cuenta)\s+que\s+)
    (?P<fact>\S.*)\Z""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
MAX_REQUEST_CHARS = 600


def asked_to_remember(message: str) -> str | None:
    """The fact, its first letter large; None where the message asks for nothing or is too long to be typed."""
    if len(message) > MAX_REQUEST_CHARS:
        return None
    match = _ASKED.match(message)
    if match is None or match["fact"].rstrip().endswith("?"):
        return None
    fact = match["fact"].strip()
    return fact[0].upper() + fact[1:]
