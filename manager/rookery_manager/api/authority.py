"""GetAuthorityStatus, RotateAuthority, DropAuthority: the cluster's certificate authority, and its replacement by a new one."""

from collections.abc import Awaitable

import grpc
from rookery.model import AuthorityStatus
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode

from rookery_manager.api.committing import checked_actor
from rookery_manager.api.errors import Refused, impossible_now
from rookery_manager.api.needs import Api
from rookery_manager.identity.rotation import Rotation, UnderWay


async def get_authority_status(api: Api, request: control_pb2.GetAuthorityStatusRequest) -> types_pb2.AuthorityStatus:  # noqa: ARG001
    message: types_pb2.AuthorityStatus = encode(_rotation(api).status())
    return message


async def rotate_authority(api: Api, request: control_pb2.RotateAuthorityRequest) -> types_pb2.AuthorityStatus:
    return await _done(_rotation(api).begin(checked_actor(request.actor)))


async def drop_authority(api: Api, request: control_pb2.DropAuthorityRequest) -> types_pb2.AuthorityStatus:
    return await _done(_rotation(api).finish(checked_actor(request.actor), force=request.force))


async def _done(work: Awaitable[AuthorityStatus]) -> types_pb2.AuthorityStatus:
    try:
        message: types_pb2.AuthorityStatus = encode(await work)
    except UnderWay as error:
        raise impossible_now(str(error)) from None
    except OSError as error:
        why = f"{error.filename or 'the authority'}: {error.strerror or error}; nothing was changed"
        raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, why) from None
    return message


def _rotation(api: Api) -> Rotation:
    if api.rotation is None:
        raise impossible_now("this manager was started with --insecure: it has no certificate authority")
    return api.rotation
