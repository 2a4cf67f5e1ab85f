"""A core in torch: for training, and for many sequences at once."""
