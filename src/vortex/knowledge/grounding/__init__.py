"""Answers with sources: what was found goes into the conversation as quotations, and the answer carries citations."""
