"""VerifyAudit: whether the history is what was written."""

from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode

from rookery_manager.api.errors import invalid
from rookery_manager.api.needs import Api
from rookery_manager.audit import parse_head, verify


async def verify_audit(api: Api, request: control_pb2.VerifyAuditRequest) -> types_pb2.AuditReport:
    try:
        expected = parse_head(request.expected) if request.expected else None
    except ValueError as error:
        raise invalid(f"expected: {error}") from None
    report = await verify(await api.store.snapshot(), api.store.chain, expected)
    message: types_pb2.AuditReport = encode(report)
    return message
