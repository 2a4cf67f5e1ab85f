"""The page where a person decides: chat, decisions, history, state. Served under `/console` beside the model.

It knows nothing of how a model learns or patches itself: what it shows and decides about is handed in
(contracts.py).
"""
