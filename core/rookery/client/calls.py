"""Every call of ControlService, once: how its request is made and what reads its answer. The two clients are made of this.

Unary calls give a Call, streaming ones a Stream; neither does any I/O.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from rookery.client import answers
from rookery.client.answers import all_of
from rookery.client.values import (
    Applied,
    BackupPart,
    Changes,
    CreatedToken,
    Explanation,
    LogEntry,
    Planned,
    Restarted,
    RolledBack,
    RolloutAction,
    Rotated,
    Scaled,
)
from rookery.model import (
    AppRevision,
    AppSpec,
    AppStatus,
    AuditReport,
    AuthorityStatus,
    Autoscale,
    AutoscaleStatus,
    Availability,
    CertificateStatus,
    Cluster,
    Event,
    FileKind,
    FileUse,
    JoinToken,
    LockKind,
    LockStatus,
    NodeDetail,
    PartKind,
    Person,
    Policy,
    Pool,
    PoolSpec,
    Proxy,
    ReplicaDetail,
    Role,
    RolloutStatus,
    RouteTable,
    ServiceDetail,
    ServiceStatus,
    StoredFile,
    TrafficReport,
)
from rookery.v1 import control_pb2 as pb
from rookery.v1 import types_pb2
from rookery.wire import decode, encode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A unary call; `timeout_s` None is the client's own."""

    method: str
    request: Message
    read: Callable[[Any], T]
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Stream(Generic[T]):
    """A streaming call; one message may be several values.

    One that goes on over a lost connection has `resume`, the request that goes on after a value, and `afresh`, the request that
    begins again where the manager no longer knows what came after that value.
    """

    method: str
    request: Message
    read: Callable[[Any], tuple[T, ...]]
    resume: Callable[[T], Message] | None = None
    afresh: Message | None = None


_PLANNING_S = 60.0  # an app of thousands of replicas is planned within the call


def get_cluster() -> Call[Cluster]:
    """The cluster as a whole."""
    return Call("GetCluster", pb.GetClusterRequest(), lambda m: decode(Cluster, m))


def apply(app: AppSpec, *, prune: bool = False, if_revision: int | None = None) -> Call[Applied]:
    """Makes an app what its spec says; with `prune`, services that it no longer names are removed. Idempotent.

    With `if_revision` it is refused (Conflict) unless the app is at this revision; 0 is: unless there is no such app.
    """
    request = pb.ApplyRequest(app=encode(app), prune=prune, if_revision=if_revision)
    return Call("Apply", request, answers.applied, _PLANNING_S)


def plan(app: AppSpec, *, prune: bool = False) -> Call[Planned]:
    """What `apply` would change, in what order, and where new replicas would go. Changes nothing."""
    return Call("Plan", pb.ApplyRequest(app=encode(app), prune=prune), answers.planned, _PLANNING_S)


def remove_app(app: str) -> Call[int]:
    """Begins to remove an app; the store's revision of that."""
    return Call("RemoveApp", pb.RemoveAppRequest(app=app), answers.revision)


def list_apps() -> Call[tuple[AppStatus, ...]]:
    return Call("ListApps", pb.ListAppsRequest(), lambda m: all_of(AppStatus, m.apps))


def get_app(app: str) -> Call[AppStatus]:
    return Call("GetApp", pb.GetAppRequest(app=app), lambda m: decode(AppStatus, m))


def list_services(app: str = "") -> Call[tuple[ServiceStatus, ...]]:
    """The services of an app, or all."""
    return Call("ListServices", pb.ListServicesRequest(app=app), lambda m: all_of(ServiceStatus, m.services))


def get_service(app: str, service: str) -> Call[ServiceDetail]:
    return Call("GetService", pb.GetServiceRequest(app=app, service=service), lambda m: decode(ServiceDetail, m))


def scale(app: str, service: str, replicas: int) -> Call[Scaled]:
    """Sets how many replicas are wanted of a service."""
    return Call("Scale", pb.ScaleRequest(app=app, service=service, replicas=replicas), answers.scaled)


def rollback(app: str, service: str = "", to: int = 0) -> Call[RolledBack]:
    """Returns a service to one of its revisions, or without a service a whole app to one of its own; 0 is what was before."""
    return Call("Rollback", pb.RollbackRequest(app=app, service=service, to=to), answers.rolled_back, _PLANNING_S)


def restart(app: str, service: str = "") -> Call[Restarted]:
    """Replaces the replicas of a service, or of all services of an app, by new ones of the same revision."""
    return Call("Restart", pb.RestartRequest(app=app, service=service), answers.restarted, _PLANNING_S)


def update_rollout(app: str, service: str, action: RolloutAction) -> Call[RolloutStatus]:
    """Pauses, resumes or aborts the rollout of a service; aborted, it goes back to where it came from."""
    wanted = pb.RolloutAction.Value(f"ROLLOUT_ACTION_{action.name}")
    request = pb.UpdateRolloutRequest(app=app, service=service, action=wanted)
    return Call("UpdateRollout", request, lambda m: decode(RolloutStatus, m))


def get_rollout(app: str, service: str) -> Call[RolloutStatus]:
    """The latest rollout of a service, how far it is, and those before it."""
    return Call("GetRollout", pb.GetRolloutRequest(app=app, service=service), lambda m: decode(RolloutStatus, m))


def get_autoscale(app: str, service: str) -> Call[AutoscaleStatus]:
    """By what a service is scaled, what is known of that now, and what was decided last."""
    return Call("GetAutoscale", pb.GetAutoscaleRequest(app=app, service=service), lambda m: decode(AutoscaleStatus, m))


def set_autoscale(app: str, service: str, policy: Autoscale | None) -> Call[AutoscaleStatus]:
    """Changes by what a service is scaled, until its next deploy; None: the number of replicas stays as it is."""
    request = pb.SetAutoscaleRequest(app=app, service=service, policy=encode(policy) if policy is not None else None)
    return Call("SetAutoscale", request, lambda m: decode(AutoscaleStatus, m))


def list_app_revisions(app: str) -> Call[tuple[AppRevision, ...]]:
    """At which revisions the services of an app were wanted, newest first."""
    return Call("ListAppRevisions", pb.ListAppRevisionsRequest(app=app), lambda m: all_of(AppRevision, m.revisions))


def list_replicas(app: str = "", service: str = "", *, node_id: str = "", ended: bool = False) -> Call[tuple[ReplicaDetail, ...]]:
    """Replicas of an app, a service or a node, or all; with `ended`, also stopped, failed and lost ones."""
    request = pb.ListReplicasRequest(app=app, service=service, node_id=node_id, ended=ended)
    return Call("ListReplicas", request, lambda m: all_of(ReplicaDetail, m.replicas))


def get_replica(replica: str) -> Call[ReplicaDetail]:
    """A replica by its id, the unique beginning of that, or its name (`shop/web.3`)."""
    return Call("GetReplica", pb.GetReplicaRequest(replica=replica), lambda m: decode(ReplicaDetail, m))


def list_nodes() -> Call[tuple[NodeDetail, ...]]:
    return Call("ListNodes", pb.ListNodesRequest(), lambda m: all_of(NodeDetail, m.nodes))


def get_node(node: str) -> Call[NodeDetail]:
    """A node by its id, the unique beginning of that, or its hostname."""
    return Call("GetNode", pb.GetNodeRequest(node=node), lambda m: decode(NodeDetail, m))


def update_node(
    node: str,
    *,
    availability: Availability | None = None,
    set_labels: Mapping[str, str] | None = None,
    remove_labels: Iterable[str] = (),
) -> Call[NodeDetail]:
    """Sets what the operator wants of a node; what is left out stays as it is."""
    wanted = types_pb2.Availability.Value(f"AVAILABILITY_{availability.name if availability else 'UNSPECIFIED'}")
    request = pb.UpdateNodeRequest(node=node, availability=wanted, set_labels=set_labels or {}, remove_labels=list(remove_labels))
    return Call("UpdateNode", request, lambda m: decode(NodeDetail, m))


def remove_node(node: str, *, force: bool = False) -> Call[int]:
    """Forgets a node; with `force`, although it is not down or empty."""
    return Call("RemoveNode", pb.RemoveNodeRequest(node=node, force=force), answers.revision)


def create_pool(name: str, spec: PoolSpec) -> Call[Pool]:
    """Makes a pool of nodes. Idempotent: the same again changes nothing."""
    return Call("CreatePool", pb.CreatePoolRequest(name=name, spec=encode(spec)), lambda m: decode(Pool, m))


def list_pools() -> Call[tuple[Pool, ...]]:
    return Call("ListPools", pb.ListPoolsRequest(), lambda m: all_of(Pool, m.pools))


def list_certificates() -> Call[tuple[CertificateStatus, ...]]:
    """Those that the manager gets by ACME."""
    return Call("ListCertificates", pb.ListCertificatesRequest(), lambda m: all_of(CertificateStatus, m.certificates))


def renew_certificate(host: str) -> Call[CertificateStatus]:
    """Has it renewed now, or had at once after failures."""
    return Call("RenewCertificate", pb.RenewCertificateRequest(host=host), lambda m: decode(CertificateStatus, m))


def get_pool(name: str) -> Call[Pool]:
    return Call("GetPool", pb.GetPoolRequest(name=name), lambda m: decode(Pool, m))


def update_pool(
    name: str,
    *,
    min: int | None = None,
    max: int | None = None,
    spare: int | None = None,
    shrink_after_s: float | None = None,
    join_timeout_s: float | None = None,
    call_timeout_s: float | None = None,
) -> Call[Pool]:
    """Sets what is wanted of a pool; what is left out stays as it is."""
    request = pb.UpdatePoolRequest(
        name=name,
        min=min,
        max=max,
        spare=spare,
        shrink_after_s=shrink_after_s,
        join_timeout_s=join_timeout_s,
        call_timeout_s=call_timeout_s,
    )
    return Call("UpdatePool", request, lambda m: decode(Pool, m))


def remove_pool(name: str, *, force: bool = False) -> Call[int]:
    """Begins to drain and remove a pool's nodes, and then the pool; with `force` only forgets it. The store's revision."""
    return Call("RemovePool", pb.RemovePoolRequest(name=name, force=force), answers.revision)


def list_proxies() -> Call[tuple[Proxy, ...]]:
    return Call("ListProxies", pb.ListProxiesRequest(), lambda m: all_of(Proxy, m.proxies))


def remove_proxy(proxy: str) -> Call[None]:
    """All certificates of the proxy are void from then on, and it serves nothing any more."""
    return Call("RemoveProxy", pb.RemoveProxyRequest(proxy=proxy), lambda _: None)


def list_routes() -> Call[RouteTable]:
    return Call("ListRoutes", pb.ListRoutesRequest(), lambda m: decode(RouteTable, m))


def get_traffic(app: str = "", service: str = "") -> Call[TrafficReport]:
    """What proxies counted of a service, of all of an app, or of all, since the manager started."""
    return Call("GetTraffic", pb.GetTrafficRequest(app=app, service=service), lambda m: decode(TrafficReport, m))


def explain(app: str, service: str, replica: str = "") -> Call[Explanation]:
    """Why a replica is where it is; without one, where one more replica of the service would go."""
    return Call("Explain", pb.ExplainRequest(app=app, service=service, replica=replica), answers.explanation)


def list_events(
    subject: str = "",
    *,
    limit: int = 0,
    after_revision: int = 0,
    by: str = "",
    kind: str = "",
    since_at: float = 0.0,
    text: str = "",
) -> Call[tuple[Event, ...]]:
    """The newest events of a subject, or of all, oldest first; a limit of 0 is the manager's (100).

    With `by` those of that person; `*` is all people, and leaves out what the manager did. With `kind` those of that kind
    (`attempt`: what people were refused), from `since_at` on, and those that say `text`.
    """
    request = pb.ListEventsRequest(
        subject=subject, limit=limit, after_revision=after_revision, by=by, kind=kind, since_at=since_at, text=text
    )
    return Call("ListEvents", request, lambda m: all_of(Event, m.events))


def verify_audit(expected: str = "") -> Call[AuditReport]:
    """Whether the history is what was written; with a head that was kept elsewhere (`REVISION:HASH`), whether it has that."""
    return Call("VerifyAudit", pb.VerifyAuditRequest(expected=expected), lambda m: decode(AuditReport, m), _PLANNING_S)


def get_authority_status() -> Call[AuthorityStatus]:
    """The cluster's certificate authority, and how far its replacement is."""
    return Call("GetAuthorityStatus", pb.GetAuthorityStatusRequest(), lambda m: decode(AuthorityStatus, m))


def rotate_authority() -> Call[AuthorityStatus]:
    """Begins to replace the authority by a new one; both are trusted until everybody has moved."""
    return Call("RotateAuthority", pb.RotateAuthorityRequest(), lambda m: decode(AuthorityStatus, m), _PLANNING_S)


def drop_authority(*, force: bool = False) -> Call[AuthorityStatus]:
    """Drops the old authority now; with `force`, although somebody has not moved, who then has to join again."""
    return Call("DropAuthority", pb.DropAuthorityRequest(force=force), lambda m: decode(AuthorityStatus, m), _PLANNING_S)


def who_am_i() -> Call[Person | None]:
    """Who the manager takes this client for; None where it knows no identities (--insecure)."""
    return Call("WhoAmI", pb.WhoAmIRequest(), lambda m: decode(Person, m.person) if m.HasField("person") else None)


_PARTS = {
    PartKind.AGENT: types_pb2.PART_KIND_AGENT,
    PartKind.PROXY: types_pb2.PART_KIND_PROXY,
    PartKind.PERSON: types_pb2.PART_KIND_PERSON,
}
_ROLES = {
    Role.VIEWER: types_pb2.ROLE_VIEWER,
    Role.DEPLOYER: types_pb2.ROLE_DEPLOYER,
    Role.OPERATOR: types_pb2.ROLE_OPERATOR,
    Role.ADMIN: types_pb2.ROLE_ADMIN,
}


def create_token(
    kind: PartKind, *, person: str = "", lifetime_s: float = 0.0, uses: int = 0, replace: bool = False
) -> Call[CreatedToken]:
    """A token to join or log in with: without an end where `lifetime_s` is 0, for any number of uses where `uses` is.

    `replace` removes the others of the same kind (and of the same person).
    """
    request = pb.CreateTokenRequest(kind=_PARTS[kind], person=person, lifetime_s=lifetime_s, uses=uses, replace=replace)
    return Call("CreateToken", request, lambda m: CreatedToken(token=decode(JoinToken, m.token), text=m.text))


def get_policy() -> Call[Policy]:
    """Who may deploy what reaches beyond its container."""
    return Call("GetPolicy", pb.GetPolicyRequest(), lambda m: decode(Policy, m))


def list_tokens() -> Call[tuple[JoinToken, ...]]:
    """The tokens that are valid, without their secrets."""
    return Call("ListTokens", pb.ListTokensRequest(), lambda m: all_of(JoinToken, m.tokens))


def remove_token(token_id: str) -> Call[None]:
    """Nobody can join with it any more; who has, stays."""
    return Call("RemoveToken", pb.RemoveTokenRequest(id=token_id), lambda _: None)


def list_people() -> Call[tuple[Person, ...]]:
    """Who may do what."""
    return Call("ListPeople", pb.ListPeopleRequest(), lambda m: all_of(Person, m.people))


def put_person(name: str, role: Role, apps: Iterable[str] = ()) -> Call[Person]:
    """A new person, or another role or other apps for one; no apps are all."""
    return Call("PutPerson", pb.PutPersonRequest(name=name, role=_ROLES[role], apps=apps), lambda m: decode(Person, m))


def remove_person(name: str) -> Call[None]:
    """All certificates of the person are void from then on."""
    return Call("RemovePerson", pb.RemovePersonRequest(name=name), lambda _: None)


_FILES = {FileKind.SECRET: types_pb2.FILE_KIND_SECRET, FileKind.CONFIG: types_pb2.FILE_KIND_CONFIG}
_LOCKS = {LockKind.KEY_FILE: types_pb2.LOCK_KIND_KEY_FILE, LockKind.PASSPHRASE: types_pb2.LOCK_KIND_PASSPHRASE}


def create_file(kind: FileKind, app: str, name: str, content: bytes) -> Call[StoredFile]:
    """A secret or config of an app, which need not be there yet: what `external: true` in its compose file means."""
    request = pb.CreateFileRequest(kind=_FILES[kind], app=app, name=name, content=content)
    return Call("CreateFile", request, lambda m: decode(StoredFile, m))


def list_files(kind: FileKind, app: str = "") -> Call[tuple[tuple[StoredFile, ...], tuple[FileUse, ...]]]:
    """The secrets, or configs, of an app, or of all; and which services have them."""
    request = pb.ListFilesRequest(kind=_FILES[kind], app=app)
    return Call("ListFiles", request, lambda m: (all_of(StoredFile, m.files), all_of(FileUse, m.uses)))


def get_file(kind: FileKind, app: str, name: str) -> Call[tuple[StoredFile, tuple[FileUse, ...], bytes | None]]:
    """It, which services have it, and what is in it: of a config, unless the manager is locked; of a secret never."""
    request = pb.GetFileRequest(kind=_FILES[kind], app=app, name=name)
    return Call("GetFile", request, answers.stored_file)


def rotate_file(kind: FileKind, app: str, name: str, content: bytes) -> Call[Rotated]:
    """A new version of it, and a rollout of every service that has it."""
    request = pb.RotateFileRequest(kind=_FILES[kind], app=app, name=name, content=content)
    return Call("RotateFile", request, answers.rotated, _PLANNING_S)


def remove_file(kind: FileKind, app: str, name: str) -> Call[None]:
    """With all its versions. Refused while a service has it."""
    return Call("RemoveFile", pb.RemoveFileRequest(kind=_FILES[kind], app=app, name=name), lambda _: None)


def get_lock() -> Call[LockStatus]:
    """Whether the manager can read secrets and configs, and what it needs for that when it starts."""
    return Call("GetLock", pb.GetLockRequest(), lambda m: decode(LockStatus, m))


def set_lock(kind: LockKind, *, passphrase: str = "", present: str = "", give_up: bool = False) -> Call[LockStatus]:
    """What the manager needs from its next start on; `present` is the passphrase in force, where one is.

    `give_up` is for a manager that can't be unlocked any more: it gets a new key, and all contents are lost.
    """
    request = pb.SetLockRequest(kind=_LOCKS[kind], passphrase=passphrase, present=present, give_up=give_up)
    return Call("SetLock", request, lambda m: decode(LockStatus, m))


def unlock(passphrase: str = "") -> Call[LockStatus]:
    """Lets the manager read secrets and configs; without a passphrase it looks at its key file anew."""
    return Call("Unlock", pb.UnlockRequest(passphrase=passphrase), lambda m: decode(LockStatus, m))


def watch(app: str = "", *, after_revision: int = 0, snapshot: bool = False, reconnect: bool = False) -> Stream[Changes]:
    """Follows an app, or all, from now or from a revision on; with `snapshot` the first value is all that there is now.

    With `reconnect` it goes on where it was when the connection comes back; after a gap that the manager can't fill, the next
    value is a snapshot.
    """
    request = pb.WatchRequest(app=app, after_revision=after_revision, snapshot=snapshot)
    if not reconnect:
        return Stream("Watch", request, answers.watched)
    return Stream("Watch", request, answers.watched, _go_on(app), pb.WatchRequest(app=app, snapshot=True))


def logs(
    app: str, service: str = "", replica: str = "", *, follow: bool = False, tail: int = -1, since_at: float = 0.0
) -> Stream[LogEntry]:
    """What replicas wrote; `tail` is the last lines of each (-1: all), `since_at` 0 is from the start."""
    request = pb.LogsRequest(app=app, service=service, replica=replica, follow=follow, tail=tail, since_at=since_at)
    return Stream("Logs", request, answers.log_entries)


def backup() -> Stream[BackupPart]:
    """The store as it is at one moment, secrets included, in parts: their data, one after the other, are the file."""
    return Stream("Backup", pb.BackupRequest(), answers.backup_parts)


def _go_on(app: str) -> Callable[[Changes], Message]:
    return lambda seen: pb.WatchRequest(app=app, after_revision=seen.revision)
