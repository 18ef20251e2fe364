"""Tokens, people and logins on the command line, against a real manager with identities."""

import asyncio
import json
import re
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import authority_of, issued
from click.testing import CliRunner, Result
from rookery.cli.main import cli
from rookery.identity import parse_token, save
from rookery.identity.find import login_path
from rookery.model import PartKind
from whole_manager import manager


class Shell:
    """`rookery ARGS` of one user, with a place of their own for logins."""

    def __init__(self, address: str, admin: Path, config: Path) -> None:
        self.address = address
        self.admin = {"ROOKERY_CREDENTIAL": str(admin)}
        self.own = {"XDG_CONFIG_HOME": str(config)}

    def __call__(self, *args: str, status: int = 0, as_admin: bool = True, stdin: str | None = None) -> Result:
        env: dict[str, str | None] = {"ROOKERY_INSECURE": None, "ROOKERY_CREDENTIAL": None, "ROOKERY_TOKEN": None, **self.own}
        env |= self.admin if as_admin else {}
        result = CliRunner().invoke(cli, ["--manager", self.address, *args], env=env, input=stdin)
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result


@pytest.fixture
def rookery(tmp_path: Path) -> Iterator[Shell]:
    started, stop = threading.Event(), threading.Event()
    found: list[str] = []

    async def serve() -> None:
        async with manager(tmp_path / "m", secure=True) as made:
            found.append(made.address)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(30)
        yield Shell(found[0], tmp_path / "m" / "admin.pem", tmp_path / "config")
    finally:
        stop.set()
        thread.join(30)


def test_tokens(rookery: Shell) -> None:
    assert "any agent" in rookery("token", "ls").stdout
    created = rookery("token", "create", "agent", "--uses", "2", "--expires", "1h")
    token = parse_token(created.stdout)
    assert "--token-file FILE" in created.stderr
    listed = {row["id"]: row for row in json.loads(rookery("token", "ls", "--json").stdout)}
    assert listed[token.id]["uses_left"] == 2
    assert token.secret not in rookery("token", "ls").output
    assert token.secret not in rookery("events").output
    assert rookery("token", "rm", token.id).stdout == f"removed token {token.id}\n"
    assert "no token" in rookery("token", "rm", token.id, status=1).stderr
    rotated = parse_token(rookery("token", "rotate", "agent").stdout)
    agents = [row["id"] for row in json.loads(rookery("token", "ls", "--json").stdout) if row["kind"] == "agent"]
    assert agents == [rotated.id]
    assert "expected a span" in rookery("token", "create", "agent", "--expires", "soon", status=2).stderr


def test_a_person_from_first_login_to_the_end(rookery: Shell) -> None:
    assert rookery("whoami").stdout == "admin, admin of all apps\n"
    assert "rookery login" in rookery("ps", as_admin=False, status=1).stderr
    token = rookery("person", "add", "ana", "--role", "viewer", "--app", "shop").stdout
    assert "there is ana already" in rookery("person", "add", "ana", "--role", "admin", status=1).stderr
    assert f"logged in to {rookery.address} as ana" in rookery("login", "--token-file", "-", stdin=token, as_admin=False).stdout
    (file,) = Path(rookery.own["XDG_CONFIG_HOME"]).glob("rookery/credentials/*.pem")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert rookery("whoami", as_admin=False).stdout == "ana, viewer of shop\n"
    refused = rookery("scale", "shop/web=3", as_admin=False, status=1).stderr
    assert "scaling shop needs the role deployer; you are ana, viewer of shop" in refused
    for _ in range(5):
        rookery("scale", "bank/web=3", as_admin=False, status=1)
    tried = [event for event in json.loads(rookery("audit", "ana", "--json").stdout) if event["kind"] == "attempt"]
    assert [event["actor"] for event in tried] == ["ana@127.0.0.1"]
    assert tried[0]["why"] == "refused: scaling shop needs the role deployer; you are ana, viewer of shop"
    done = rookery("audit").stdout
    assert "made viewer of shop" in done
    assert "admin@127.0.0.1" in done
    assert "join was made for agent.token" not in done  # which the manager did
    assert "no such join token" in rookery("login", "--token-file", "-", stdin=token, as_admin=False, status=1).stderr
    assert rookery("person", "set", "ana", "--role", "deployer").stdout == "ana is deployer of all apps\n"
    assert "no service shop/web" in rookery("scale", "shop/web=3", as_admin=False, status=1).stderr
    again = rookery("person", "token", "ana").stdout
    assert "as ana" in rookery("login", "--token-file", "-", stdin=again, as_admin=False).stdout
    assert "ana    deployer  all apps" in rookery("person", "ls").stdout
    assert rookery("person", "rm", "ana").stdout == "removed ana\n"
    assert "ana was removed from the people of this cluster" in rookery("whoami", as_admin=False, status=1).stderr
    assert "only admin" in rookery("person", "rm", "admin", status=1).stderr
    assert rookery("logout", as_admin=False).stdout == f"logged out of {rookery.address}\n"
    assert rookery("logout", as_admin=False).stdout == f"not logged in to {rookery.address}\n"


def test_what_is_no_token_for_a_login_is_told(rookery: Shell, tmp_path: Path) -> None:
    assert "this is no join token" in rookery("login", "--token-file", "-", stdin="abc", as_admin=False, status=2).stderr
    assert "no token: give it with --token-file" in rookery("login", as_admin=False, status=2).stderr
    agents = (tmp_path / "m" / "agent.token").read_text()
    said = rookery("login", "--token-file", "-", stdin=agents, as_admin=False, status=1).stderr
    assert "the token is for any agent, not for people" in said
    assert not login_path(rookery.address).exists()


def test_plain_text_gets_nowhere_and_says_how_it_goes(rookery: Shell) -> None:
    said = rookery("--insecure", "ps", status=4).stderr
    assert "warning: --insecure:" in said
    assert "A manager that was not started with --insecure does not talk to one without a credential" in said
    assert "--insecure is for trials on one machine" in rookery("--manager", "10.9.8.7:7070", "--insecure", "ps", status=1).stderr


def test_a_manager_of_another_cluster_is_told_from_none(rookery: Shell, tmp_path: Path) -> None:
    other = issued(authority_of(tmp_path / "other"), PartKind.PERSON, "admin")
    save(tmp_path / "other.pem", other)
    rookery.admin["ROOKERY_CREDENTIAL"] = str(tmp_path / "other.pem")
    assert "can't be talked to: its certificate is of another cluster" in rookery("ps", status=4).stderr


def test_the_policy_is_shown_as_it_stands_in_a_file(rookery: Shell, tmp_path: Path) -> None:
    built_in = rookery("policy", "show")
    assert built_in.stdout == "rules:\n  - role: operator\n    may: all\n"
    path = tmp_path / "m" / "policy.yml"
    assert f"Write others into {path}" in built_in.stderr

    text = 'rules:\n  - people: ["ana"]\n    may:\n      - devices\n      - bind-mounts: ["/srv", "/etc:ro"]\n'
    path.write_text(text)
    shown = rookery("policy", "show")
    assert shown.stdout == text
    assert f"These are the rules of {path}." in shown.stderr

    path.write_text("rules: 1")
    assert "rules: expected a list" in rookery("policy", "show").stderr
    found = json.loads(rookery("policy", "show", "--json").stdout)
    assert (found["is_default"], found["rules"][0]["people"]) == (False, ["ana"])
    assert found["trouble"].endswith("policy.yml:1: rules: expected a list")


def test_a_new_authority(rookery: Shell) -> None:
    token = rookery("person", "add", "ana", "--role", "viewer").stdout
    rookery("login", "--token-file", "-", stdin=token, as_admin=False)
    (file,) = Path(rookery.own["XDG_CONFIG_HOME"]).glob("rookery/credentials/*.pem")
    old = file.read_text()
    before = json.loads(rookery("ca", "status", "--json").stdout)
    assert rookery("ca", "status").stdout.startswith(f"authority  {before['digest'][:8]}, made ")
    assert "no authority is being replaced" in rookery("ca", "finish", status=1).stderr
    began = rookery("ca", "rotate")
    assert "moved: 1 of 2 people; not yet: person ana" in began.stdout
    assert "It goes on by itself" in began.stderr
    told = rookery("ca", "status")
    assert "person" in told.stdout
    assert f"Join tokens that were handed out before pin {before['digest'][:8]}" in told.stderr
    assert "not moved yet: person ana; with --force" in rookery("ca", "finish", status=1).stderr
    file.write_text(re.sub(r"renew-at: \d+", "renew-at: 0", old))  # she uses it a day later
    assert "ana" in rookery("whoami", as_admin=False).stdout
    until_done = time.monotonic() + 60
    while json.loads(rookery("ca", "status", "--json").stdout)["old_digest"]:
        assert time.monotonic() < until_done
    assert "ana" in rookery("whoami", as_admin=False).stdout
    file.write_text(old)
    assert "is of an authority that was replaced" in rookery("whoami", as_admin=False, status=1).stderr
    assert rookery("ca", "rotate", "--json").exit_code == 0
    assert "no other is trusted" in rookery("ca", "finish", "--force").stdout
    assert [row["kind"] for row in json.loads(rookery("audit", "--kind", "authority", "--json").stdout)] == ["authority"] * 3


def test_the_history_is_verified(rookery: Shell) -> None:
    head = rookery("audit", "verify")
    assert re.fullmatch(r"\d+:[0-9a-f]{64}\n", head.stdout)
    assert "Keep this head elsewhere" in head.stderr
    rookery("token", "create", "agent")
    assert rookery("audit", "verify", "--expect", head.stdout.strip()).exit_code == 0
    revision, _, digest = head.stdout.strip().partition(":")
    wrong = f"{revision}:{digest[::-1]}"
    assert "has another hash than was expected" in rookery("audit", "verify", "--expect", wrong, status=1).stderr
    assert "was cut off" in rookery("audit", "verify", "--expect", f"{int(revision) + 1000}:{digest}", status=1).stderr
    assert json.loads(rookery("audit", "verify", "--json").stdout)["fault"] == ""
    assert "expected REVISION:HASH" in rookery("audit", "verify", "--expect", "abc", status=2).stderr


def test_the_history_is_filtered(rookery: Shell) -> None:
    rookery("person", "add", "ana", "--role", "viewer")
    rookery("token", "create", "agent")
    assert {row["kind"] for row in json.loads(rookery("audit", "--kind", "token", "--json").stdout)} == {"token"}
    assert [row["subject"] for row in json.loads(rookery("audit", "--action", "MADE VIEWER", "--json").stdout)] == ["ana"]
    assert "Nobody was refused anything" in rookery("audit", "--refused").stderr
    assert "Nobody did anything of that" in rookery("audit", "--since", "2100-01-01T00:00:00", "--kind", "token").stderr
    assert "--since: expected a span" in rookery("audit", "--since", "soon", status=2).stderr
    assert "kind: must be one of app, attempt, authority" in rookery("audit", "--kind", "cake", status=2).stderr
    assert "give one of" in rookery("audit", "--kind", "app", "--refused", status=2).stderr
    assert "made viewer" in rookery("audit", "show", "admin").stdout


def test_a_deployer_is_told_which_permission_is_missing(rookery: Shell, tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text("services: {web: {image: i, privileged: true, volumes: ['/etc:/host']}}\n")
    token = rookery("person", "add", "bob", "--role", "deployer").stdout.strip()
    rookery("login", "--token-file", "-", as_admin=False, stdin=token)
    refused = rookery("deploy", "-f", str(file), "--app", "shop", "--detach", as_admin=False, status=1).stderr
    assert "services.web.privileged: needs the permission privileged" in refused
    assert "services.web.volumes: /etc needs the permission bind-mounts" in refused
    assert f"an admin allow it in {tmp_path / 'm' / 'policy.yml'}; see rookery policy show" in refused
    assert "needs the permission privileged (and 1 more)" in rookery("audit", "bob").stdout
