"""Answers of a given form: grammars, tool calls, and the bytes that are allowed next."""
