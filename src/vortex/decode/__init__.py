"""From logits to tokens and text: sampling, constraints, log-probabilities, stop strings. Numpy only."""
