"""An agent that works on a repository: repairs, tools in a loop, patches that ask first."""
