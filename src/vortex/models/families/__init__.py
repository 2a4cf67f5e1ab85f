"""Families of models: each file says what is different about one, as a blueprint and the names of its tensors."""
