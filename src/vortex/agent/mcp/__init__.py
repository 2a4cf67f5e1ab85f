"""The Model Context Protocol: other programs' tools for our agent, and our tools for other programs (extra `agent`)."""
