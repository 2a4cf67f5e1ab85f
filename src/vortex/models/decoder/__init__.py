"""One decoder for Llama-shaped models, and the computes that do its arithmetic."""
