"""The store: one SQLite file with sources, documents, passages, their words and their vectors."""
