"""L-kn, the homeostatic gateway: decides per request how much effort to ask of an engine, and holds itself in balance.

    client → guard → examine → decide → admit → upstream → relay → client        ledger and metrics beside every step

Starts without torch and without a web framework. The way of one request is in `chat.py`.
"""
