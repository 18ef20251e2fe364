"""ListCertificates and RenewCertificate; and the routes of a spec for which no certificate can be had."""

from collections.abc import Iterator
from dataclasses import replace

from rookery.model import AppSpec, CertificateStatus, ManagedCertificate
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode

from rookery_manager.acme.keep import Certificates
from rookery_manager.api.committing import Proposal, commit
from rookery_manager.api.errors import impossible_now, not_found
from rookery_manager.api.needs import Api
from rookery_manager.records import put


async def list_certificates(
    api: Api,
    request: control_pb2.ListCertificatesRequest,  # noqa: ARG001
) -> control_pb2.ListCertificatesResponse:
    kept = _kept(api)
    return control_pb2.ListCertificatesResponse(certificates=[encode(kept.status(host)) for host in kept.hosts()])


async def renew_certificate(api: Api, request: control_pb2.RenewCertificateRequest) -> types_pb2.CertificateStatus:
    kept = _kept(api)
    host = request.host.lower()

    def propose() -> Proposal[CertificateStatus]:
        if host not in kept.hosts():
            raise not_found("certificate", request.host, kept.hosts())
        status = kept.status(host)
        if not status.services:
            raise impossible_now(f"no route asks for a certificate of {host}, so it is not renewed")
        if kept.off:
            raise impossible_now(kept.off)
        now = api.clock()
        known = api.state.certificates.get(host) or ManagedCertificate(host=host)
        asked = replace(known, renew_at=min(known.renew_at, now), retry_at=0.0)
        why = "is to be renewed now" if known.digest else "is to be had now"
        return Proposal(
            answer=replace(status, certificate=asked), writes=[put(asked, why)], conditions=api.state.conditions([asked])
        )

    status, _ = await commit(api, propose, request.actor)
    message: types_pb2.CertificateStatus = encode(status)
    return message


def certificate_faults(api: Api, spec: AppSpec) -> Iterator[str]:
    """Routes whose certificates this manager can't get, each with its place in the spec."""
    kept = api.certificates
    for service in spec.services:
        for index, route in enumerate(service.routes):
            why = (kept.refusal(route.host) if kept is not None else NONE_KEPT) if route.acme else ""
            if why:
                yield f"services.{service.name}.routes[{index}].acme: {why}"


NONE_KEPT = "this manager keeps no certificates"


def _kept(api: Api) -> Certificates:
    if api.certificates is None:
        raise impossible_now(NONE_KEPT)
    return api.certificates
