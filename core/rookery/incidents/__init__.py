"""Incidents: what went wrong and what was done about it, read from the events alone (docs/decisions/0019-incidents.md)."""

from rookery.incidents.find import find
from rookery.incidents.model import Did, Incident, Kind, Outcome, Step
from rookery.incidents.story import Story, story

__all__ = ["Did", "Incident", "Kind", "Outcome", "Step", "Story", "find", "story"]
