"""What a person gave to look things up in: documents (store, search, context) and memory (facts and lessons).

Nothing gets in here on its own: a person points at files, says "remember that …", or allows a tool to.
"""
