"""Closes the cluster's machines to replicas but for what is declared: what the kernel is told, and that it stays told."""
