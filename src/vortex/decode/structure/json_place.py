"""Where in a JSON text an answer stands, read byte by byte: inside a string, inside a number, or between.

Text around the JSON (a tool call's tags) is passed over; it holds no quotation marks. Does not check anything.
"""

from __future__ import annotations

import json

QUOTE, BACKSLASH = ord('"'), ord("\\")
MAX_DIGITS = 15  # of a number in a row: exact in every language's numbers; JSON sets no end, and small models find none
EXPONENT_DIGITS = 2
NUMBER = frozenset(b"0123456789+-.eE")
OPENING, CLOSING, SPACE = frozenset(b"{["), frozenset(b"}]"), ord(" ")
DIGITS = frozenset(b"0123456789")


class JsonPlace:
    """`string` is None outside a string, else the bytes since its opening mark, as they are written; `is_key`: it names
    a property, or the last one did."""

    __slots__ = ("_brackets", "_is_escaped", "_is_key_next", "is_key", "num_digits", "number", "string")

    def __init__(self) -> None:
        self.string: bytearray | None = None
        self.number = bytearray()  # what is written of a number
        self.num_digits = 0  # in it, an exponent's beginning counted as all but two
        self.is_key = False
        self._brackets = bytearray()
        self._is_key_next = False
        self._is_escaped = False

    def push(self, data: bytes) -> None:
        for byte in data:
            if self.string is None:
                self._between(byte)
            elif self._is_escaped:
                self._is_escaped = False
                self.string.append(byte)
            elif byte == QUOTE:
                self.string = None
            else:
                self._is_escaped = byte == BACKSLASH
                self.string.append(byte)

    def _between(self, byte: int) -> None:
        if byte not in NUMBER:
            self.num_digits, self.number = 0, bytearray()
        else:
            self.num_digits += byte in DIGITS
            if byte in b"eE" and self.number:
                self.num_digits = max(self.num_digits, MAX_DIGITS - EXPONENT_DIGITS)
            self.number.append(byte)
        if byte == QUOTE:
            self.string, self.is_key = bytearray(), self._is_key_next
        elif byte in OPENING:
            self._brackets.append(byte)
        elif byte in CLOSING and self._brackets:
            self._brackets.pop()
        if byte not in NUMBER and byte != SPACE:
            self._is_key_next = byte in b"{," and self._brackets[-1:] == b"{"

    def text(self) -> str | None:
        """The open string's characters; None outside, or inside an escape or a character."""
        if self.string is None or self._is_escaped:
            return None
        try:
            text: str = json.loads(b'"' + bytes(self.string) + b'"', strict=False)
        except ValueError:
            return None
        return text

    def copy(self) -> JsonPlace:
        twin = JsonPlace()
        twin.string = None if self.string is None else bytearray(self.string)
        twin.num_digits, twin._is_escaped, twin.is_key = self.num_digits, self._is_escaped, self.is_key
        twin.number = bytearray(self.number)
        twin._brackets, twin._is_key_next = bytearray(self._brackets), self._is_key_next
        return twin
