"""Model files: GGUF, safetensors, their formats and configurations."""
