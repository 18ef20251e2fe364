"""What `rookery admin` does to files, beside the managers: it runs this where the manager's data are."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rookery.process import data_dir

from rookery_manager.restoring import Examined, Restored, examine, restore
from rookery_manager.store import StoreError


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rookery admin")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify")
    verify.add_argument("file", type=Path)
    restoring = commands.add_parser("restore")
    restoring.add_argument("file", type=Path)
    restoring.add_argument("--data", type=Path, default=data_dir("manager"))
    return parser.parse_args(argv)


def run(options: argparse.Namespace, now: float) -> list[str]:
    """The lines to print. Raises StoreError or OSError where it was not done."""
    if options.command == "verify":
        return _told(options.file, examine(options.file))
    return _restored(options.file, options.data, restore(options.file, options.data, now))


def _told(file: Path, held: Examined) -> list[str]:
    if held.history.fault:
        raise StoreError(f"{file} is a whole store, but its history was changed: {held.history.fault}")
    words = ", ".join(f"{count} {kind}" for kind, count in sorted(held.counts.items()) if kind != "cluster")
    head = f"{held.history.head_revision}:{held.history.head_hash}"
    return [
        f"{file} is a whole store: revision {held.revision}{_as_of(held)}; {words or 'nothing deployed'}",
        f"its history of {held.history.checked} revisions is what was written; its head is {head}",
    ]


def _restored(file: Path, directory: Path, done: Restored) -> list[str]:
    what = f"revision {done.held.revision}{_as_of(done.held)} from {file}"
    lines = [f"restored {what} into {directory}; revisions go on from {done.revision}"]
    if done.held.history.fault:
        lines.append(f"its history was changed before the backup: {done.held.history.fault}")
    if done.kept is not None:
        lines.append(f"what was there is kept as {done.kept}")
    if done.opened_by:
        lines.append(f"its secrets and configs are opened by {done.opened_by}")
    lines.append("Start the manager: nodes and proxies follow it again. What was deployed since then must be deployed again.")
    return lines


def _as_of(held: Examined) -> str:
    return time.strftime(" of %Y-%m-%d %H:%M:%S UTC", time.gmtime(held.at)) if held.at else ""


def main() -> None:
    try:
        lines = run(parse(sys.argv[1:]), time.time())
    except (StoreError, OSError) as error:
        words = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        sys.exit(f"error: {words}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
