"""Memory: facts and lessons that a person put here, as files that a person can read and change."""
