"""LoRA adapters: read, check against a model, hold within a budget, name."""
