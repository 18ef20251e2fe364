"""What a container's environment and labels are, with the files they come from."""

from collections.abc import Mapping

from rookery.compose import dotenv
from rookery.compose.diagnostics import Problems
from rookery.compose.files import exists, located, read_text, source_of
from rookery.compose.nodes import Scalar
from rookery.compose.view import View

RESERVED_LABELS = "rookery."


def environment(service: View, env: Mapping[str, str]) -> dict[str, str]:
    """`env_file` with `environment` over it; a name alone takes the value from `env`, or is left out."""
    found: dict[str, str] = {}
    for file in service.items("env_file"):
        written = file.get("path")
        if not isinstance(written, Scalar):
            continue
        path = located(written.text, written.mark)
        if not file.flag("required", True) and not exists(path):
            continue
        content = read_text(path, written.mark, file.where("path"), service.problems, "env file")
        if content is not None:
            raw = file.text("format") == "raw"
            found.update(dotenv.parse(content, source_of(path), {**found, **env}, service.problems, raw=raw))
    for name, value in service.pairs("environment").items():
        given = env.get(name) if value is None else value
        if given is not None:
            found[name] = given
        elif value is None:
            found.pop(name, None)
    for name in found:
        if "\0" in found[name] or "=" in name:
            service.error("environment", f"variable {name!r} can't be given to a process")
    return dict(sorted(found.items()))


def labels(service: View, problems: Problems) -> dict[str, str]:
    """`label_file` with `labels` over it."""
    found: dict[str, str] = {}
    for written in service.scalars("label_file"):
        path = located(written.text, written.mark)
        content = read_text(path, written.mark, service.where("label_file"), problems, "label file")
        if content is not None:
            found.update(dotenv.parse(content, source_of(path), {}, problems))
    found.update(service.labels("labels"))
    for name in found:
        if name.startswith(RESERVED_LABELS):
            problems.error(
                service.mark("labels"),
                f"{service.where('labels')}.{name}",
                "labels that begin with 'rookery.' are the agent's own",
            )
    return dict(sorted(found.items()))
