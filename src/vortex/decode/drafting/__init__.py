"""Block decoding: BAD, the drafters that guess, and the books that are kept about their guesses."""
