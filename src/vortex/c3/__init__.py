"""Packed weights on disk: named bytes, memory-mapped or paged. Knows no architecture."""
