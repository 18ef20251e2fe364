"""The manager's decisions: pure functions from a snapshot and the time to actions, each with its why."""
