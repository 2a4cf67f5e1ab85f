"""One file per endpoint group. Each has a `router`; `app.py` puts them together."""
