"""The Python client, sync and async; the CLI uses nothing else."""
