"""The agent: makes what the manager decided true on its node, and goes on when the manager is away."""
