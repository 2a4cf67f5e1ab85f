"""LoRA in plain torch: attached to a model of the transformers library, trained, and taken out in peft's format."""
