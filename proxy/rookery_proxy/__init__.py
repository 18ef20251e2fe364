"""The proxy: spreads the users' requests over whatever is ready."""
