"""Files that must not be lost: atomic writes (atomic.py), JSON lines that only grow (jsonl.py), locks (lock.py)."""
