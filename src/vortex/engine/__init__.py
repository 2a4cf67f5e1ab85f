"""Chat requests in, token events out: `LocalBackend` (backend.py) over the sweep loop (engine.py). Numpy only."""
