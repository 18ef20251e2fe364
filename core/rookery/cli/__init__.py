"""The `rookery` command. Heavy imports (gRPC, rich, YAML) happen inside commands, so that `--help` is quick."""
