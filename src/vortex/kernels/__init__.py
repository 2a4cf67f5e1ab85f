"""The native core: products with block-quantised weights, attention, fused decoder steps, and their numpy oracles.

Knows no model and no torch. The program runs without the compiled core, slower, on the oracles.
"""
