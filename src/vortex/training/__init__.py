"""One training, whatever is trained: the loop, its batches, its schedule, its state on disk. Uses torch."""
