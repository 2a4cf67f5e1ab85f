"""Ways to reach a model that is not in this process, and the shipped fake. Nothing here imports torch."""
