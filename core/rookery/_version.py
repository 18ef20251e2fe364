"""The version of all parts; pyproject.toml reads it from here."""

VERSION = "0.1.0"
