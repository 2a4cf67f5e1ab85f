"""Training: text and dialogues in, checkpoints and their evidence out. Uses torch; nothing here serves requests."""
