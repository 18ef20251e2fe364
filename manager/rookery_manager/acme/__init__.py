"""Certificates for routes, had by ACME: asked for, proven through the proxies, renewed, and brought to the proxies."""
