"""Commands of the agent: demo, run, patches of its own."""
