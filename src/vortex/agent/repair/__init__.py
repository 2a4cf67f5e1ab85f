"""Make a failing test pass: reproduce, locate, generate, judge, rank. docs/agent.md draws the way of a repair."""
