"""Explain: every node with its reasons and scores, and what happened to the subject so far."""

from collections.abc import Sequence

from rookery.model import NodeVerdict, Replica, ReplicaState
from rookery.v1 import control_pb2
from rookery.wire import encode

from rookery_manager.api.errors import impossible_now
from rookery_manager.api.events import events_of
from rookery_manager.api.find import find_replica, find_service, spec_of
from rookery_manager.api.needs import Api
from rookery_manager.api.placing import explain_next, explain_replica

EVENTS_SHOWN = 50


async def explain(api: Api, request: control_pb2.ExplainRequest) -> control_pb2.ExplainResponse:
    if request.replica:
        replica = find_replica(api.state, request.replica)
        revision = api.state.revision_of(replica.key, replica.revision)
        if revision is None:
            raise impossible_now(f"{replica.name} is of revision {replica.revision}, which is gone with its service")
        verdicts = explain_replica(api.state, replica, revision.spec)
        subject, summary = replica.name, _replica_summary(replica, verdicts)
        wanted: str = replica.id
    else:
        service = find_service(api.state, request.app, request.service)
        verdicts = explain_next(api.state, service.key, spec_of(api.state, service))
        subject, summary = service.key, _next_summary(verdicts)
        wanted = ""
    events = await events_of(api.store, subject, limit=EVENTS_SHOWN)
    return control_pb2.ExplainResponse(
        subject=subject,
        summary=summary,
        nodes=[encode(verdict) for verdict in verdicts],
        events=[encode(event) for event in events if not wanted or event.id in ("", wanted)],
    )


def _replica_summary(replica: Replica, verdicts: Sequence[NodeVerdict]) -> str:
    fitting = sum(verdict.fits for verdict in verdicts)
    if replica.state is ReplicaState.PENDING:
        return f"{replica.name} is pending: {replica.why or 'it was just made'}; {fitting} of {len(verdicts)} nodes fit it"
    where = f" on {replica.node_name}" if replica.node_name else ""
    return f"{replica.name} is {replica.state}{where}: {replica.why}; {fitting} of {len(verdicts)} nodes would fit it now"


def _next_summary(verdicts: Sequence[NodeVerdict]) -> str:
    chosen = next((verdict for verdict in verdicts if verdict.chosen), None)
    if chosen is not None:
        return f"one more replica would go to {chosen.node_name}"
    return "one more replica would fit on no node" if verdicts else "there is no node yet; start an agent on a machine"
