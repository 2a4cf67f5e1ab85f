"""Settings: what can be set, where it is read from, and where each value came from. No torch.

`loading` reads them, `schema` says what there is; `variables` and `addresses` are read without pydantic.
"""
