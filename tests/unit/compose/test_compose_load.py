"""The way from a file to an AppSpec, and that one run finds everything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rookery.compose import ComposeError, Diagnostic, dump, find_files, load
from rookery.model import BindMount, Port, PortMode, Replicated, VolumeMount


def write(directory: Path, text: str, name: str = "compose.yml") -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_small_app(tmp_path: Path) -> None:
    path = write(
        tmp_path / "My Shop",
        """
services:
  web:
    image: nginx:${TAG:-1.27}
    ports: ["8080:80"]
    deploy: {replicas: 3}
    volumes: ["data:/data"]
volumes:
  data:
""",
    )
    loaded = load([path], env={})
    assert loaded.app.name == "myshop"
    assert loaded.warnings == ()
    (web,) = loaded.app.services
    assert web.container.image == "nginx:1.27"
    assert web.mode == Replicated(replicas=3)
    assert web.ports == (Port(target=80, published=8080, mode=PortMode.INGRESS),)
    assert web.container.mounts == (VolumeMount(volume="myshop_data", target="/data"),)
    assert [(network.network, network.aliases) for network in web.container.networks] == [("myshop_default", ("web",))]


def test_all_errors_come_at_once_with_line_and_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(
        tmp_path,
        """\
services:
  web:
    image: nginx
    deploy:
      replicas: three
    volumes: [nodata:/data]
    depends_on: [bd]
  db:
    imag: postgres
""",
    )
    with pytest.raises(ComposeError) as raised:
        load([path], env={})
    assert str(raised.value).splitlines() == [
        "compose.yml:5: services.web.deploy.replicas: expected a whole number, got 'three'",
        "compose.yml:6: services.web.volumes[0].source: volume 'nodata' is not defined"
        " (add it under the top-level `volumes:`, or write ./ before a path)",
        "compose.yml:7: services.web.depends_on.bd: service 'bd' is not defined (known are db, web)",
        "compose.yml:8: services.db: 'image' is missing",
        "compose.yml:9: services.db.imag: unknown key (did you mean 'image'?)",
    ]
    assert raised.value.errors[0] == Diagnostic(
        file="compose.yml", line=5, path="services.web.deploy.replicas", message="expected a whole number, got 'three'"
    )


def test_a_resolved_document_loads_to_the_same_app(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
services:
  web:
    image: nginx
    command: sh -c "echo $$HOME 'a b'"
    environment: {A: 0123, B: 1.10, C: "null", D: $$x}
    ports: ["22:22", "127.0.0.1:80:80/udp"]
    configs: [{source: c, mode: 0440}]
    tmpfs: /run:size=64m,mode=1777
configs:
  c: {content: "$$x"}
""".replace("127.0.0.1:", ""),
    )
    first = load([path], app="shop", env={})
    again = load([write(tmp_path, dump(first.resolved), "resolved.yml")], env={})
    assert again.app == first.app


def test_files_are_found_upwards_with_their_override(tmp_path: Path) -> None:
    base = write(tmp_path, "services: {}")
    override = write(tmp_path, "services: {}", "compose.override.yml")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_files(tmp_path) == (base, override)
    assert find_files(inner) == (base, override)


def test_a_resolved_document_needs_no_other_file_and_no_variable(tmp_path: Path) -> None:
    write(tmp_path, "A=1\nB=$$x\n", "a.env")
    write(tmp_path, "l=1\n", "a.labels")
    path = write(
        tmp_path,
        "services: {web: {image: 'i:$TAG', env_file: a.env, environment: [C], label_file: a.labels, volumes: ['./x:/x']}}",
    )
    first = load([path], app="shop", env={"C": "3", "TAG": "7"})
    assert first.app.services[0].container.environment == {"A": "1", "B": "$x", "C": "3"}
    again = load([write(tmp_path / "elsewhere", dump(first.resolved))], env={})
    assert again.app == first.app
    assert again.warnings == ()


def test_a_file_that_a_shell_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader, writer = os.pipe()
    os.write(writer, b"services: {web: {image: i, volumes: ['./a:/a']}}")
    os.close(writer)
    try:
        (web,) = load([Path(f"/dev/fd/{reader}")], env={}).app.services
    finally:
        os.close(reader)
    assert web.container.mounts == (BindMount(source=str(tmp_path / "a"), target="/a"),)


def test_importing_it_loads_no_yaml() -> None:
    code = "import sys, rookery.compose; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
