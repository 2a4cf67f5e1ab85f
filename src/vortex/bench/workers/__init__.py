"""What runs in a peer's own interpreter: `worker_loop.py` answers for one of the others."""
