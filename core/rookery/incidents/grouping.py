"""Which steps are told in one sentence: those of the same kind in a row, of several replicas; the middle of a crash loop."""

from collections.abc import Iterator, Sequence

from rookery.incidents.model import Did, Step

TOGETHER_S = 1.0
PLACED_TOLD = 3  # one by one, with the reason of each
CRASHES_TOLD = 2  # one by one, at the beginning of a loop

_CYCLE = frozenset({Did.CRASHED, Did.STARTED, Did.READY})
_TOGETHER = frozenset({Did.LOST, Did.DOUBTED, Did.CREATED, Did.PLACED, Did.STARTED, Did.READY, Did.STOPPED, Did.HELD})
_BY_REASON = frozenset({Did.DOUBTED, Did.HELD, Did.STOPPED})


def grouped(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """The steps in their order. Of the middle of a crash loop only the crashes are kept, as one group."""
    for group in _groups(steps):
        if group[0].did is Did.PLACED and len(group) <= PLACED_TOLD:
            yield from ([step] for step in group)
        else:
            yield group


def _groups(steps: Sequence[Step]) -> Iterator[list[Step]]:
    group: list[Step] = []
    for step in _without_cycles(steps):
        if isinstance(step, list):
            if group:
                yield group
            yield step
            group = []
        elif group and _alike(group[-1], step):
            group.append(step)
        else:
            if group:
                yield group
            group = [step]
    if group:
        yield group


def _alike(one: Step, other: Step) -> bool:
    same = one.did is other.did and one.did in _TOGETHER and one.subject != other.subject and other.at - one.at < TOGETHER_S
    return same and (one.why == other.why or one.did not in _BY_REASON)


def _without_cycles(steps: Sequence[Step]) -> Iterator[Step | list[Step]]:
    at = 0
    while at < len(steps):
        end = at
        while end < len(steps) and steps[end].did in _CYCLE and _place(steps[end]) == _place(steps[at]):
            end += 1
        crashes = [n for n in range(at, end) if steps[n].did is Did.CRASHED]
        if len(crashes) > CRASHES_TOLD + 1:
            first, last = crashes[CRASHES_TOLD], crashes[-1]
            yield from steps[at:first]
            yield [steps[n] for n in crashes[CRASHES_TOLD:]]
            yield from steps[last + 1 : end]
        else:
            yield from steps[at : max(end, at + 1)]
        at = max(end, at + 1)


def _place(step: Step) -> tuple[str, str]:
    return step.subject, step.node
