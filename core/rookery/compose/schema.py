"""The words a description of the compose format is written in: types of values, and what each key does here.

Invariant: descriptions are data. Reading short forms (`canonical`), merging (`merge`), checking (`check`) and the reference in
the docs all walk the same description, so they can't disagree.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rookery.compose.diagnostics import Problems
from rookery.compose.nodes import Map, Node


class Effect(StrEnum):
    WORKS = "works"
    NONE = "no effect"  # accepted with a warning
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a text, or odd about it."""

    message: str
    hint: str = ""
    is_warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """`check` judges texts that no list of choices can. `what` names the kind in errors."""

    choices: tuple[str, ...] = ()
    check: Callable[[str], Fault | None] | None = None
    what: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    low: int = 0
    high: int = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    low: float = 0.0
    high: float = 1e6


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Duration:
    """A time such as `1m30s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """An amount of bytes such as `512m`; -1 is no bound where `unbounded`."""

    unbounded: bool = False


@dataclass(frozen=True, slots=True)
class FileMode:
    """An octal file mode such as `0440`."""


@dataclass(frozen=True, slots=True)
class LocalPath:
    """A path on this machine; relative ones start where the file that says them does."""


@dataclass(frozen=True, slots=True)
class Anything:
    """A value that is not looked into."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command line: a list, or one text that is split as a shell would. A later file's replaces an earlier one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Names with texts: a mapping, or a list of `NAME=value`. A name alone has no value (null)."""


Expand = Callable[[Node, str, Problems], tuple[Node, ...]]
"""The long forms that a short form stands for; what can't be understood is reported and stands for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf:
    """`single`: one item may stand without a list. `expand` turns anything but a list's mapping items into long forms.

    Merging appends, replaces what has the same `unique` key, or replaces the whole list (`replace`).
    """

    item: "Type"
    single: bool = False
    expand: Expand | None = None
    whole: Callable[[Node], Node] | None = None  # another form of the entire list
    unique: Callable[[Map], Hashable] | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """A mapping with known keys. `expand` makes one of a short form, `tidy` one of an older long form.

    `only_same`: merged only if this key's value agrees.
    """

    keys: Mapping[str, "Key"]
    required: tuple[str, ...] = ()
    expand: Expand | None = None
    tidy: Callable[[Map], Map] | None = None
    extensions: bool = True
    only_same: str = ""
    what: str = "a mapping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A mapping from names of the user's choice; a list of names too, if `from_list` (what each then stands for)."""

    value: "Type"
    name_check: Callable[[str], Fault | None] | None = None
    from_list: Mapping[str, str] | None = None


Type = (
    Text | Whole | Number | Flag | Duration | Size | FileMode | LocalPath | Anything | Command | Pairs | ListOf | Object | Named
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key: what it takes and what it does. `note` says why it has no effect or is refused, `instead` the way out."""

    type: Type = field(default_factory=Anything)
    effect: Effect = Effect.WORKS
    note: str = ""
    instead: str = ""


def works(type: Type, note: str = "") -> Key:
    return Key(type=type, note=note)


def no_effect(type: Type, why: str, instead: str = "") -> Key:
    return Key(type=type, effect=Effect.NONE, note=why, instead=instead)


def refused(why: str, instead: str = "") -> Key:
    return Key(effect=Effect.REFUSED, note=why, instead=instead)


TEXT = Text()
FLAG = Flag()
DURATION = Duration()
SIZE = Size()
PAIRS = Pairs()
PATH = LocalPath()
TEXTS = ListOf(item=TEXT)
TEXT_OR_TEXTS = ListOf(item=TEXT, single=True)
COUNT = Whole()
