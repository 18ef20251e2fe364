"""The RPCs of ControlService as one table, and what is true of each: how it is parsed, permitted, bounded in time, how it fails.

Beside it the two services that every gRPC client knows: health, and reflection.
"""

from __future__ import annotations  # grpc's classes take type parameters in its stubs only

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from rookery.v1 import control_pb2, dispatch_pb2, identity_pb2, routing_pb2

from rookery_manager.api import (
    applying,
    audit,
    authority,
    autoscale,
    backup,
    certificates,
    cluster,
    events,
    explain,
    files,
    locking,
    logs,
    nodes,
    people,
    pools,
    replicas,
    returning,
    rights,
    rollouts,
    rotating,
    services,
    tokens,
    watch,
)
from rookery_manager.api.errors import Refused, status_of
from rookery_manager.api.needs import Api

DEADLINE_S = 60.0  # of a unary call whose client sets none; a client's own is kept by gRPC, which cancels the call
PATIENCE_S = 60.0  # how long a client may leave a stream unread

Send = Callable[[Any], Awaitable[None]]

UNARY: Mapping[str, Callable[[Api, Any], Awaitable[Message]]] = {
    "GetCluster": cluster.get_cluster,
    "Apply": applying.apply,
    "Plan": applying.plan,
    "RemoveApp": applying.remove_app,
    "ListApps": services.list_apps,
    "GetApp": services.get_app,
    "ListServices": services.list_services,
    "GetService": services.get_service,
    "Scale": services.scale,
    "Rollback": returning.rollback,
    "Restart": returning.restart,
    "UpdateRollout": rollouts.update_rollout,
    "GetRollout": rollouts.get_rollout,
    "GetAutoscale": autoscale.get_autoscale,
    "SetAutoscale": autoscale.set_autoscale,
    "ListAppRevisions": rollouts.list_app_revisions,
    "ListReplicas": replicas.list_replicas,
    "GetReplica": replicas.get_replica,
    "ListNodes": nodes.list_nodes,
    "GetNode": nodes.get_node,
    "UpdateNode": nodes.update_node,
    "RemoveNode": nodes.remove_node,
    "CreatePool": pools.create_pool,
    "ListPools": pools.list_pools,
    "GetPool": pools.get_pool,
    "UpdatePool": pools.update_pool,
    "RemovePool": pools.remove_pool,
    "ListProxies": cluster.list_proxies,
    "RemoveProxy": cluster.remove_proxy,
    "ListRoutes": cluster.list_routes,
    "ListCertificates": certificates.list_certificates,
    "RenewCertificate": certificates.renew_certificate,
    "GetTraffic": cluster.get_traffic,
    "Explain": explain.explain,
    "ListEvents": events.list_events,
    "WhoAmI": people.who_am_i,
    "CreateToken": tokens.create_token,
    "ListTokens": tokens.list_tokens,
    "RemoveToken": tokens.remove_token,
    "ListPeople": people.list_people,
    "PutPerson": people.put_person,
    "RemovePerson": people.remove_person,
    "CreateFile": files.create_file,
    "ListFiles": files.list_files,
    "GetFile": files.get_file,
    "RotateFile": rotating.rotate_file,
    "RemoveFile": files.remove_file,
    "GetLock": locking.get_lock,
    "SetLock": locking.set_lock,
    "Unlock": locking.unlock,
    "GetPolicy": rights.get_policy,
    "GetAuthorityStatus": authority.get_authority_status,
    "RotateAuthority": authority.rotate_authority,
    "DropAuthority": authority.drop_authority,
    "VerifyAudit": audit.verify_audit,
}
STREAMING: Mapping[str, Callable[[Api, Any, Send], Awaitable[None]]] = {
    "Logs": logs.stream_logs,
    "Watch": watch.watch,
    "Backup": backup.backup,
}

SERVICES = (
    control_pb2.DESCRIPTOR.services_by_name["ControlService"],
    dispatch_pb2.DESCRIPTOR.services_by_name["DispatchService"],
    routing_pb2.DESCRIPTOR.services_by_name["RoutingService"],
    identity_pb2.DESCRIPTOR.services_by_name["IdentityService"],
)


async def make_health() -> health.aio.HealthServicer:
    """Says of every service that it is there, until it is told that the manager goes away."""
    servicer = health.aio.HealthServicer()
    for service in SERVICES:
        await servicer.set(service.full_name, health_pb2.HealthCheckResponse.SERVING)
    return servicer


def register(server: grpc.aio.Server, api: Api, servicer: health.aio.HealthServicer) -> None:
    """Adds ControlService, health and reflection."""
    control = SERVICES[0]
    handlers = {}
    for method in control.methods:
        request_class = GetMessageClass(method.input_type)
        if method.server_streaming:
            handlers[method.name] = _streaming(api, method.name, request_class, STREAMING[method.name])
        else:
            handlers[method.name] = _unary(api, method.name, request_class, UNARY[method.name])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(control.full_name, handlers),))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = (*(service.full_name for service in SERVICES), health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)


def _unary(
    api: Api, name: str, request_class: type[Message], handle: Callable[[Api, Any], Awaitable[Message]]
) -> grpc.RpcMethodHandler[bytes, Message]:
    async def serve(data: bytes, context: grpc.aio.ServicerContext[bytes, Message]) -> Message:
        try:
            async with asyncio.timeout(DEADLINE_S):
                request = request_class.FromString(data)
                await people.permit(api, name, request)
                return await handle(api, request)
        except Exception as error:
            await context.abort(*status_of(error, name))

    # Without a deserializer gRPC hands over the bytes: it would answer bytes that are no message with INTERNAL.
    return grpc.unary_unary_rpc_method_handler(serve, response_serializer=_serialize)


def _streaming(
    api: Api, name: str, request_class: type[Message], handle: Callable[[Api, Any, Send], Awaitable[None]]
) -> grpc.RpcMethodHandler[bytes, Message]:
    async def serve(data: bytes, context: grpc.aio.ServicerContext[bytes, Message]) -> None:
        async def send(message: Message) -> None:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await context.write(message)
            except TimeoutError:
                message_ = f"nothing was read from {name} for {PATIENCE_S:g} s; follow on from the last revision that was read"
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, message_) from None

        try:
            request = request_class.FromString(data)
            await people.permit(api, name, request)
            await handle(api, request, send)
        except Exception as error:
            await context.abort(*status_of(_first(error), name))

    return grpc.unary_stream_rpc_method_handler(serve, response_serializer=_serialize)


def _first(error: Exception) -> Exception:
    """The first error of a group, as a TaskGroup raises it."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
