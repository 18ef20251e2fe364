"""A whole cluster in one process and in virtual time: the real manager, agents and proxies over a simulated network and disks.

Only what touches the outside is replaced (substitutes.py): the clock, gRPC, the store's file, the agent's home, the engine, the
proxy's workers. Everything that happens is drawn from one seed, so a seed replays exactly (docs/simulation.md).
"""
