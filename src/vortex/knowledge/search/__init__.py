"""Search: by words, by meaning, both fused; above a threshold, or nothing."""
