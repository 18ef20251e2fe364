"""A resolved document as YAML text. Invariant: reading it again gives the same values, `$` included."""

from collections.abc import Mapping

import yaml


def dump(resolved: Mapping[str, object]) -> str:
    return yaml.dump(_escaped(resolved), Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=120)


def _escaped(value: object) -> object:
    match value:
        case str():
            return value.replace("$", "$$")
        case Mapping():
            return {key: _escaped(inner) for key, inner in value.items()}
        case list():
            return [_escaped(inner) for inner in value]
        case _:
            return value
