"""Secrets and configs at rest: encrypted with one key, which is itself encrypted by a key file or a passphrase."""
