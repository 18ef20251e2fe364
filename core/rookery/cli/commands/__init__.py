"""One module for each command, or for a few that are one thing; `rookery.cli.table` says which is where."""
