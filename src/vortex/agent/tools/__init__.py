"""The agent's tools: each described by a JSON schema, each run inside the sandbox, each result labelled by trust.

`tool` is what a tool is, `toolbox` holds a set of them and decides which call may happen, `workspace` runs file
operations behind the walls; the other files are the tools themselves.
"""
