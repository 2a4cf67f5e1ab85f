"""Engine, gateway and user interface as one stack: started in order, watched, stopped without a process left behind.

A service is a watcher process that holds a lock and keeps one command alive. Locks, not PID files, say what runs.
"""
