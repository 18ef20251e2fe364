"""Compose files to an AppSpec: read, interpolate, merge, check, resolve. Errors name the file, the line and the path of keys."""
