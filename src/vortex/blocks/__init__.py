"""Tensor operations of the core's blocks, each a readable reference beside a fast form."""
