"""The rollouts of a service that are over: the newest are kept, and none of a service that begins anew."""

from rookery.model import PastRollout, ServiceKey

from rookery_manager.records import put, rollout_key
from rookery_manager.state import State
from rookery_manager.store import Delete, Write

KEEP_ROLLOUTS = 100
"""Of each service, besides the latest."""


def keep_rollout(state: State, ended: PastRollout) -> list[Write]:
    """The writes that record it, and let go of those that are too many with it."""
    too_old = [number for number in state.rollouts.get(ended.key, {}) if number <= ended.number - KEEP_ROLLOUTS]
    return [put(ended, ""), *(Delete(key=rollout_key(ended.app, ended.service, number)) for number in too_old)]


def forget_rollouts(state: State, key: ServiceKey) -> list[Write]:
    app, _, service = key.partition("/")
    return [Delete(key=rollout_key(app, service, number)) for number in state.rollouts.get(key, {})]
