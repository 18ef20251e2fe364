"""The client for code without an event loop."""

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Concatenate, ParamSpec, TypeVar

import grpc

from rookery.channel import dial_blocking
from rookery.client import calls
from rookery.client.address import DEFAULT_ADDRESS, parse_address
from rookery.client.calls import Call, Stream
from rookery.client.errors import ClientError, from_status
from rookery.client.following import Following
from rookery.client.identity import choose
from rookery.client.methods import named_after, read_answer, sign
from rookery.identity import Identity
from rookery.v1.control_pb2_grpc import ControlServiceStub

P = ParamSpec("P")
T = TypeVar("T")


def _unary(build: Callable[P, Call[T]]) -> Callable[Concatenate["Client", P], T]:
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._send(build(*args, **kwargs))

    return named_after(build, method)


def _streaming(build: Callable[P, Stream[T]]) -> Callable[Concatenate["Client", P], Iterator[T]]:
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._follow(build(*args, **kwargs))

    return named_after(build, method)


class Client:
    """A connection to the manager at `HOST:PORT`, made when first used. Every unary call ends within `timeout_s`.

    Who asks is the `identity`, else the one that is found: ROOKERY_CREDENTIAL, a login, the admin's on the manager's machine.
    With `insecure`, or ROOKERY_INSECURE in the environment, it is nobody, in plain text; `actor` is who is named then in the
    store's history. Raises ClientError from every call, and where there is no identity.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 10.0,
        actor: str = "",
        identity: Identity | None = None,
        insecure: bool = False,
    ) -> None:
        self.address = parse_address(address)
        self._timeout_s = timeout_s
        self._actor = actor
        self._identity = choose(self.address, identity, insecure)
        self._channel = dial_blocking(self.address, self._identity)
        self._stub = ControlServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    get_cluster = _unary(calls.get_cluster)
    apply = _unary(calls.apply)
    plan = _unary(calls.plan)
    remove_app = _unary(calls.remove_app)
    list_apps = _unary(calls.list_apps)
    get_app = _unary(calls.get_app)
    list_services = _unary(calls.list_services)
    get_service = _unary(calls.get_service)
    scale = _unary(calls.scale)
    rollback = _unary(calls.rollback)
    restart = _unary(calls.restart)
    update_rollout = _unary(calls.update_rollout)
    get_rollout = _unary(calls.get_rollout)
    get_autoscale = _unary(calls.get_autoscale)
    set_autoscale = _unary(calls.set_autoscale)
    list_app_revisions = _unary(calls.list_app_revisions)
    list_replicas = _unary(calls.list_replicas)
    get_replica = _unary(calls.get_replica)
    list_nodes = _unary(calls.list_nodes)
    get_node = _unary(calls.get_node)
    update_node = _unary(calls.update_node)
    remove_node = _unary(calls.remove_node)
    create_pool = _unary(calls.create_pool)
    list_pools = _unary(calls.list_pools)
    get_pool = _unary(calls.get_pool)
    update_pool = _unary(calls.update_pool)
    remove_pool = _unary(calls.remove_pool)
    list_proxies = _unary(calls.list_proxies)
    remove_proxy = _unary(calls.remove_proxy)
    list_routes = _unary(calls.list_routes)
    list_certificates = _unary(calls.list_certificates)
    renew_certificate = _unary(calls.renew_certificate)
    get_traffic = _unary(calls.get_traffic)
    explain = _unary(calls.explain)
    list_events = _unary(calls.list_events)
    who_am_i = _unary(calls.who_am_i)
    create_token = _unary(calls.create_token)
    list_tokens = _unary(calls.list_tokens)
    get_policy = _unary(calls.get_policy)
    remove_token = _unary(calls.remove_token)
    list_people = _unary(calls.list_people)
    put_person = _unary(calls.put_person)
    remove_person = _unary(calls.remove_person)
    create_file = _unary(calls.create_file)
    list_files = _unary(calls.list_files)
    get_file = _unary(calls.get_file)
    rotate_file = _unary(calls.rotate_file)
    remove_file = _unary(calls.remove_file)
    get_lock = _unary(calls.get_lock)
    set_lock = _unary(calls.set_lock)
    unlock = _unary(calls.unlock)
    get_authority_status = _unary(calls.get_authority_status)
    rotate_authority = _unary(calls.rotate_authority)
    drop_authority = _unary(calls.drop_authority)
    verify_audit = _unary(calls.verify_audit)
    watch = _streaming(calls.watch)
    logs = _streaming(calls.logs)
    backup = _streaming(calls.backup)

    def _send(self, call: Call[T]) -> T:
        timeout_s = max(self._timeout_s, call.timeout_s or 0)
        try:
            message = getattr(self._stub, call.method)(sign(call.request, self._actor), timeout=timeout_s)
        except grpc.RpcError as error:
            raise self._error(error, call.method, timeout_s) from None
        return read_answer(call.read, message, call.method)

    def _follow(self, stream: Stream[T]) -> Iterator[T]:
        following = Following(stream)
        while True:
            failure: ClientError | None = None
            call = getattr(self._stub, stream.method)(following.request)
            try:
                for message in call:
                    for value in read_answer(stream.read, message, stream.method):
                        following.saw(value)
                        yield value
            except grpc.RpcError as error:
                failure = self._error(error, stream.method, None)
            finally:
                call.cancel()
            if failure is not None and failure.code == "CANCELLED":
                return
            wait_s = following.retry_after(failure)
            if wait_s is not None:
                time.sleep(wait_s)
            elif failure is not None:
                raise failure
            else:
                return

    def _error(self, error: grpc.RpcError, method: str, timeout_s: float | None) -> ClientError:
        code, details = error.code().name, error.details() or ""
        secure = self._identity is not None
        return from_status(code, details, address=self.address, method=method, timeout_s=timeout_s, secure=secure)
