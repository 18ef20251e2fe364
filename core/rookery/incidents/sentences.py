"""Steps of an incident as sentences."""

from collections.abc import Sequence

from rookery.incidents.model import Did, Step

NAMES_TOLD = 4


def sentence(steps: Sequence[Step], *, after_s: float = 0.0) -> str:
    """What one step says, or several of the same kind; `after_s` is how long it had taken at most until they were ready."""
    step = steps[0]
    names, many = _names(steps), len(steps) > 1
    match step.did:
        case Did.LOST:
            return f"{names} {'were' if many else 'was'} lost"
        case Did.DOUBTED:
            told = step.why.rpartition("; ")[2].removeprefix("it ")
            return f"{names} {'get' if many else 'gets'} no more requests: {'each' if many else 'it'} {told}"
        case Did.CRASHED:
            return _crashed(steps)
        case Did.FAILED:
            return f"{names} failed: {step.why}"
        case Did.CREATED:
            return f"{names} {'were' if many else 'was'} created anew"
        case Did.HELD:
            return f"{names} {'wait' if many else 'waits'} for a node: {step.why}"
        case Did.PLACED:
            return f"{names} were placed{_on(steps)}" if many else f"{names} was placed on {step.node}: {step.why}"
        case Did.PREPARED:
            return f"{names} on {step.node}: {step.why}"
        case Did.STARTED:
            return f"{names} {'run' if many else 'runs'}{_on(steps)}, not ready yet"
        case Did.READY:
            took = f", {'at most ' if many else ''}{brief(after_s)} later" if after_s else ""
            return f"{names} {'are' if many else 'is'} ready{_on(steps)}{took}"
        case Did.MOVES:
            return f"{names} moves to {step.node}: {step.why}"
        case Did.STOPPED:
            return f"{names}{_on(steps)} {'are' if many else 'is'} to stop: {step.why}"
        case Did.DROPPED:
            return f"{names} is no longer wanted: {step.why}"
        case Did.RETURNED:
            return f"{step.subject} {step.why}"
    return step.why


def brief(seconds: float) -> str:
    """`0.02 s`, `3.1 s`."""
    return f"{seconds:.2f} s" if seconds < 0.1 else f"{seconds:.1f} s"


def _crashed(steps: Sequence[Step]) -> str:
    """`restarting in 2 s: exited with status 3` the other way round: first what happened, then what is done."""
    step = steps[-1]
    if len(steps) > 1:
        return f"it crashed {len(steps)} times more, over {step.at - steps[0].at:.0f} s; the last: {_crashed(steps[-1:])}"
    if not step.why.startswith("restarting"):
        return f"{step.subject} on {step.node} crashed: {step.why}"
    then, _, what = step.why.partition(": ")
    return f"{step.subject} on {step.node} {what}; {then}"


def _names(steps: Sequence[Step]) -> str:
    names = list(dict.fromkeys(step.subject for step in steps))
    if len(names) <= NAMES_TOLD:
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{', '.join(names[: NAMES_TOLD - 1])} and {len(names) - NAMES_TOLD + 1} more"


def _on(steps: Sequence[Step]) -> str:
    nodes = list(dict.fromkeys(step.node for step in steps if step.node))
    return f" on {', '.join(nodes)}" if nodes else ""
