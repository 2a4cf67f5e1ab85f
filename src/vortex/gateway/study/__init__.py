"""What the gateway's policy is worth: calibration, trials, tasks, and the replay of a ledger."""
