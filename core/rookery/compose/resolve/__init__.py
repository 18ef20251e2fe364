"""The checked tree to the model, one area a module.

Invariant: reads no file but those that hold variables, secrets and configs.
"""
