"""Commands that make or judge models: training, bootstrap, tokenizers, evaluation."""
