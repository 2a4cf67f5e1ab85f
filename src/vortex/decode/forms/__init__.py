"""How model families write thinking and tool calls, and how answers are read by that."""
