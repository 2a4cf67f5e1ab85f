"""Measurements of memory, disk and the products of weights: kernels, attention, paging, attached models."""
