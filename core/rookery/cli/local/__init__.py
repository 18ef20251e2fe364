"""A cluster on this machine: its parts as real processes, kept running by one supervisor.

The parts are started by the names of their modules; nothing of them is imported.
"""
