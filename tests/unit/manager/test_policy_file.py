"""The policy file: what it may say, what is wrong with it and where, and that it is read anew while the manager runs."""

import os
from pathlib import Path

import pytest
from rookery.model import PERMISSIONS, Grant, PolicyRule, Role
from rookery.model.policy import DEFAULT_RULES
from rookery.process import Stop
from rookery_manager.policy import Faulty, PolicyFile, parse

GOOD = """\
rules:
  - role: operator
    may: all
  - role: deployer
    people: [bob]
    apps: [shop]
    may:
      - privileged
      - bind-mounts: [/srv/shop, "/etc/ssl:ro"]
      - capabilities: [cap_net_admin]
"""


def test_what_it_says() -> None:
    operators, bob = parse(GOOD, "policy.yml")
    assert operators == PolicyRule(role=Role.OPERATOR, may=tuple(Grant(permission=name) for name in PERMISSIONS))
    assert operators == DEFAULT_RULES[0]
    assert bob == PolicyRule(
        role=Role.DEPLOYER,
        people=("bob",),
        apps=("shop",),
        may=(
            Grant(permission="privileged"),
            Grant(permission="bind-mounts", values=("/srv/shop", "/etc/ssl:ro")),
            Grant(permission="capabilities", values=("NET_ADMIN",)),
        ),
    )
    assert parse("rules: []", "p") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "policy.yml: is empty; to allow nobody anything, write `rules: []`"),
        ("rules: [", "policy.yml:1: "),
        ("- a", "policy.yml:1: expected a mapping"),
        ("rule: []", "policy.yml:1: unknown key 'rule'; known are rules"),
        ("{}", "policy.yml:1: 'rules' is missing"),
        ("rules: all", "policy.yml:1: rules: expected a list"),
        (
            "rules:\n  - role: root\n    may: all",
            "policy.yml:2: rules[0].role: expected viewer, deployer, operator or admin, got",
        ),
        ("rules:\n  - role: admin", "policy.yml:2: rules[0]: 'may' is missing"),
        ("rules:\n  - role: admin\n    role: viewer\n    may: all", "policy.yml:3: rules[0]: 'role' is given twice"),
        (
            "rules:\n  - may:\n    - privilege",
            "policy.yml:3: rules[0].may[0]: 'privilege' is no permission; there are privileged",
        ),
        ("rules:\n  - may:\n    - privileged: [x]", "policy.yml:3: rules[0].may[0]: privileged takes no list; write it alone"),
        ("rules:\n  - may:\n    - bind-mounts: [srv]", "policy.yml:3: rules[0].may[0].bind-mounts: expected an absolute path"),
        ("rules:\n  - may:\n    - bind-mounts: [/a/../b]", "expected an absolute path without '..', got '/a/../b'"),
        ("rules:\n  - may:\n    - bind-mounts: []", "the list is empty; leave the permission out to give none"),
        ("rules:\n  - may:\n    - host-namespaces: [net]", "expected network, pid, ipc, userns, cgroup, got 'net'"),
        ("rules:\n  - people: bob\n    may: all", "policy.yml:2: rules[0].people: expected a list"),
        ("rules:\n  - people: [{}]\n    may: all", "policy.yml:2: rules[0].people[0]: expected a text"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, words: str) -> None:
    with pytest.raises(Faulty) as caught:
        parse(text, "policy.yml")
    assert words in str(caught.value)


def test_a_file_is_read_anew_and_a_broken_one_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "policy.yml"
    file = PolicyFile(path)
    assert (file.current().is_default, file.current().rules) == (True, DEFAULT_RULES)

    path.write_text("rules: []\n")
    assert (file.current().is_default, file.current().rules, file.current().path) == (False, (), str(path))

    path.write_text("rules: [nonsense]\n")
    assert file.current().rules == ()
    assert file.current().trouble == f"{path}:1: rules[0]: expected a mapping"
    assert caplog.text.count("the policy from before goes on to hold") == 1  # once for each content

    path.write_text(GOOD)
    assert (len(file.current().rules), file.current().trouble) == (2, "")

    path.unlink()
    assert len(file.current().rules) == 2
    assert "is gone" in file.current().trouble


def test_a_manager_does_not_start_with_a_file_that_it_cannot_use(tmp_path: Path) -> None:
    path = tmp_path / "policy.yml"
    with pytest.raises(Stop, match="no such file; mend the policy file, or name another one with --policy"):
        PolicyFile(path, must_exist=True)
    path.write_text("rules: {}")
    with pytest.raises(Stop, match="1: rules: expected a list"):
        PolicyFile(path)
    path.write_bytes(b"\xff")
    with pytest.raises(Stop, match="is no text in UTF-8"):
        PolicyFile(path)
    path.write_text("#" * 1_000_001)
    with pytest.raises(Stop, match="is larger than 1000 kB"):
        PolicyFile(path)
    path.unlink()
    os.mkdir(path)
    with pytest.raises(Stop, match="can't be read"):
        PolicyFile(path)
