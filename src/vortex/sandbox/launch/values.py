"""Plain values as bytes and back: what a plan and a report are made of.

Bencoding (BEP 3), with floats and truth values added. JSON would say the same, but its module costs a fifth of a run's
start-up (it brings regular expressions and enumerations), and every run pays that. Both ends are this program.
Promises that `decode(encode(x)) == x` for None, bool, int, float, str (of any code points), and lists and dictionaries
of these. Raises ValueError for anything else.
"""

from __future__ import annotations


def encode(value: object) -> bytes:
    """str keys alone. Raises ValueError for a value of another kind."""
    parts: list[bytes] = []
    _encode(value, parts)
    return b"".join(parts)


def decode(data: bytes) -> object:
    """Raises ValueError for what `encode` does not write."""
    try:
        value, end = _decode(data, 0)
    except IndexError as error:
        raise ValueError("the bytes end within a value") from error
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes behind the value")
    return value


def _encode(value: object, parts: list[bytes]) -> None:
    if value is None:
        parts.append(b"n")
    elif value is True or value is False:
        parts.append(b"t" if value else b"f")
    elif isinstance(value, int):
        parts.append(b"i%de" % value)
    elif isinstance(value, float):
        parts.append(b"r" + repr(float(value)).encode() + b"e:")  # an exponent has an e too, so the end has two letters
    elif isinstance(value, str):
        text = value.encode(errors="surrogatepass")
        parts.append(b"%d:%s" % (len(text), text))
    elif isinstance(value, list | tuple):
        parts.append(b"l")
        for item in value:
            _encode(item, parts)
        parts.append(b"e")
    elif isinstance(value, dict):
        parts.append(b"d")
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"a key is {type(key).__name__}, and only text can be one")
            _encode(key, parts)
            _encode(item, parts)
        parts.append(b"e")
    else:
        raise ValueError(f"{type(value).__name__} is no plain value")


def _decode(data: bytes, at: int) -> tuple[object, int]:
    kind = data[at : at + 1]
    if kind == b"n":
        return None, at + 1
    if kind in {b"t", b"f"}:
        return kind == b"t", at + 1
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind == b"r":
        end = data.index(b"e:", at)
        return float(data[at + 1 : end]), end + 2
    if kind.isdigit():
        colon = data.index(b":", at)
        end = colon + 1 + int(data[at:colon])
        if end > len(data):
            raise ValueError("the bytes end within a text")
        return data[colon + 1 : end].decode(errors="surrogatepass"), end
    if kind not in {b"l", b"d"}:
        raise ValueError(f"no value begins with {kind!r}")
    items: list[object] = []
    at += 1
    while data[at : at + 1] != b"e":
        item, at = _decode(data, at)
        items.append(item)
    if kind == b"l":
        return items, at + 1
    if not all(isinstance(key, str) for key in items[::2]):
        raise ValueError("a key is no text")
    return dict(zip(items[::2], items[1::2], strict=True)), at + 1
