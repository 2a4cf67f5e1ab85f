"""Answers as OpenAI spells them, whole and in pieces. Pure functions from events to plain dictionaries."""
