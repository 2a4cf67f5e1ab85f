"""The web, as far as a person allowed: pages of allowed domains, fetched with care, as text that nobody has to trust.

`address` decides which URLs may be asked for, `fetching` asks, `extraction` reads text out of pages inside the sandbox,
`sanitising` takes out what is meant for a model and not for a reader, `search` and `ingestion` use them.
"""
