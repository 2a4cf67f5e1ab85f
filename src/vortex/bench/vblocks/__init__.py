"""Measurements of the V-Blocks core: quality, recall, depth, flat cost, parity of its forms."""
