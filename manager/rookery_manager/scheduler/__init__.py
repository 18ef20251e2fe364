"""Which node a replica goes to: filters that say why not, scores that say why."""
