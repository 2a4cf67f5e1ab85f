"""Any transformers model under the house's contract."""
