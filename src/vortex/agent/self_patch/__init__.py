"""Changes of the program itself: proposed in a worktree, judged in the sandbox, queued, let in by a person alone."""
