"""Several files over each other, `extends`, `include` and profiles."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rookery.compose import ComposeError, load
from rookery.compose.loader import Loaded
from rookery.model import BindMount, Dependency, DependencyCondition, Port, ServiceSpec, VolumeMount

Load = Callable[..., Loaded]
Errors = Callable[..., list[str]]


def web(loaded: Loaded) -> ServiceSpec:
    return next(service for service in loaded.app.services if service.name == "web")


def service_of(keys: str) -> str:
    return "services:\n  web:\n" + "".join(f"    {line}\n" for line in keys.strip().splitlines())


def merged(loaded: Load, base: str, *over: str, rest: str = "") -> ServiceSpec:
    return web(loaded(service_of(f"image: i\n{base}") + rest, *map(service_of, over)))


def test_mappings_are_merged_and_scalars_replaced(loaded: Load) -> None:
    spec = merged(
        loaded,
        "user: a\nhostname: h\nenvironment: {A: '1', B: '1'}\nlabels: [x=1]",
        "user: b\nenvironment: [B=2, C=3]\nlabels: {y: 2}",
        "image: j",
    )
    assert (spec.container.image, spec.container.user, spec.container.hostname) == ("j", "b", "h")
    assert spec.container.environment == {"A": "1", "B": "2", "C": "3"}
    assert spec.container.labels == {"x": "1", "y": "2"}


def test_lists_are_appended_without_repeating(loaded: Load) -> None:
    spec = merged(loaded, "dns: 1.1.1.1\ncap_add: [A]", "dns: [8.8.8.8, 1.1.1.1]\ncap_add: [B]")
    assert (spec.container.dns, spec.container.cap_add) == (("1.1.1.1", "8.8.8.8"), ("A", "B"))


def test_command_lines_are_replaced(loaded: Load) -> None:
    base = "command: [a, b]\nentrypoint: [e, f]\nhealthcheck: {test: [CMD, x, y], interval: 3s}"
    spec = merged(loaded, base, "command: c\nentrypoint: []\nhealthcheck: {test: [CMD, z]}")
    assert spec.container.command is not None
    assert spec.container.entrypoint is not None
    assert (spec.container.command.args, spec.container.entrypoint.args) == (("c",), ())
    assert spec.probe.args == ("z",)  # type: ignore[union-attr]
    assert spec.probe.timing.interval_s == 3.0  # type: ignore[union-attr]


def test_ports_are_one_by_address_target_published_and_protocol(loaded: Load) -> None:
    spec = merged(
        loaded,
        "ports: ['8080:80', '53:53/udp']",
        "ports: ['8080:80', '53:53', '8081:80', {target: 80, published: 8080, mode: host}]",
    )
    assert [(port.published, port.target, port.protocol, port.mode) for port in spec.ports] == [
        (8080, 80, "tcp", "host"),
        (53, 53, "udp", "ingress"),
        (53, 53, "tcp", "ingress"),
        (8081, 80, "tcp", "ingress"),
    ]


def test_volumes_are_one_by_target(loaded: Load) -> None:
    spec = merged(
        loaded,
        "volumes: ['a:/work', 'a:/keep']",
        "volumes: ['b:/work/:ro', {type: bind, source: /x, target: /new}]",
        rest="volumes: {a: , b: }\n",
    )
    assert spec.container.mounts == (
        VolumeMount(volume="shop_b", target="/work/", read_only=True),
        VolumeMount(volume="shop_a", target="/keep"),
        BindMount(source="/x", target="/new"),
    )


def test_secrets_and_configs_are_one_by_target(loaded: Load) -> None:
    spec = merged(
        loaded,
        "configs: [a, {source: a, target: /t}]",
        "configs: [{source: b, target: /t}, a]",
        rest="configs: {a: {content: a}, b: {content: b}}\n",
    )
    assert [(file.name, file.target) for file in spec.container.files] == [("a", "/a"), ("b", "/t")]


def test_depends_on_as_a_list_and_as_a_mapping(loaded: Load) -> None:
    rest = "  a: {image: i}\n  b: {image: i}\n"
    spec = merged(loaded, "depends_on: [a, b]", "depends_on: {b: {condition: service_healthy}}", rest=rest)
    assert spec.depends_on == (Dependency(service="a"), Dependency(service="b", condition=DependencyCondition.SERVICE_HEALTHY))


def test_options_of_another_log_driver_do_not_mix(loaded: Load) -> None:
    base = "logging: {driver: json-file, options: {max-size: 1m}}"
    mixed = merged(loaded, base, "logging: {options: {max-file: 3}}").container.logging
    other = merged(loaded, base, "logging: {driver: syslog, options: {tag: t}}").container.logging
    assert mixed is not None
    assert other is not None
    assert mixed.options == {"max-size": "1m", "max-file": "3"}
    assert (other.driver, other.options) == ("syslog", {"tag": "t"})


def test_reset_takes_away(loaded: Load) -> None:
    base = "ports: ['80:80']\nenvironment: {A: '1', B: '2'}\nuser: u\ncap_add: [A]"
    spec = merged(loaded, base, "ports: !reset []\nenvironment: {A: !reset null}\nuser: !reset null")
    assert (spec.ports, spec.container.environment, spec.container.user) == ((), {"B": "2"}, "")
    assert spec.container.cap_add == ("A",)


def test_reset_of_a_service_and_in_the_first_file(loaded: Load) -> None:
    base = "services: {web: {image: i, user: !reset null}, old: {image: i}}"
    app = loaded(base, "services: {old: !reset null}").app
    assert [service.name for service in app.services] == ["web"]
    assert app.services[0].container.user == ""


def test_override_replaces(loaded: Load) -> None:
    base = "ports: ['80:80']\nenvironment: {A: '1'}"
    spec = merged(loaded, base, "ports: !override ['81:81']\nenvironment: !override\n  B: '2'")
    assert (spec.ports, spec.container.environment) == ((Port(target=81, published=81),), {"B": "2"})


def test_null_in_a_later_file_leaves_what_was_there(loaded: Load) -> None:
    assert merged(loaded, "ports: ['80:80']", "ports:").ports == (Port(target=80, published=80),)


def test_extensions_are_merged_too(loaded: Load) -> None:
    resolved = loaded("x-a: {b: 1}\nservices: {web: {image: i}}", "x-a: {c: 2}\nservices: {}").resolved
    assert resolved["x-a"] == {"b": 1, "c": 2}


# ---- extends ----


def test_extends_in_one_file(loaded: Load) -> None:
    text = """
services:
  base: {image: i, environment: {A: "1", B: "1"}, ports: ["80:80"], profiles: [never]}
  middle: {extends: base, environment: {B: "2"}, profiles: !override []}
  web: {extends: {service: middle}, environment: {C: "3"}, profiles: !reset [], ports: !reset []}
"""
    spec = web(loaded(text))
    assert (spec.container.image, spec.container.environment, spec.ports) == ("i", {"A": "1", "B": "2", "C": "3"}, ())


def test_extends_another_file_whose_paths_are_its_own(loaded: Load, directory: Path) -> None:
    (directory / "common").mkdir()
    (directory / "common" / "base.yml").write_text(
        "services:\n  base: {extends: {file: ../deep.yml, service: deep}, env_file: a.env, volumes: ['./x:/x']}\n"
    )
    (directory / "common" / "a.env").write_text("A=1\n")
    (directory / "deep.yml").write_text("services: {deep: {image: 'i:${TAG}'}}")
    found = loaded("services: {web: {extends: {file: common/base.yml, service: base}}}", env={"TAG": "2"})
    spec = web(found)
    assert (spec.container.image, spec.container.environment) == ("i:2", {"A": "1"})
    assert spec.container.mounts == (BindMount(source=str(directory / "common" / "x"), target="/x"),)
    assert found.resolved["services"]["web"]["volumes"][0]["source"] == str(directory / "common" / "x")  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web: {extends: web, image: i}", "compose.yml:2: services.web.extends: 'web' extends itself"),
        (
            "a: {extends: b, image: i}\n  b: {extends: c}\n  c: {extends: a}",
            "compose.yml:4: services.c.extends: services extend each other: a -> b -> c -> a",
        ),
        (
            "web: {extends: bse, image: i}\n  base: {image: i}",
            "compose.yml:2: services.web.extends: there is no service 'bse' in this file (did you mean 'base'?)",
        ),
        (
            "web: {extends: {service: a, file: no.yml}, image: i}",
            "compose.yml:2: services.web.extends.file: compose file 'no.yml' does not exist",
        ),
        ("web: {extends: {file: compose.yml}, image: i}", "compose.yml:2: services.web.extends: 'service' is missing"),
        (
            "web: {extends: [a], image: i}",
            "compose.yml:2: services.web.extends: expected the name of a service or a mapping, got a list",
        ),
        (
            "web: {extends: {service: a, fil: x}, image: i}\n  a: {image: i}",
            "compose.yml:2: services.web.extends.fil: unknown key (did you mean 'file'?)",
        ),
    ],
)
def test_extends_that_go_nowhere(errors: Errors, text: str, expected: str) -> None:
    assert expected in errors(f"services:\n  {text}\n")


def test_extends_in_a_circle_over_files(errors: Errors, directory: Path) -> None:
    (directory / "other.yml").write_text("services: {b: {extends: {file: compose.yml, service: web}}}")
    found = errors("services: {web: {image: i, extends: {file: other.yml, service: b}}}")
    assert found == ["other.yml:1: services.b.extends: services extend each other: web -> b -> web"]


def test_a_long_chain_of_extends(errors: Errors) -> None:
    chain = "".join(f"  s{i}: {{extends: s{i + 1}}}\n" for i in range(3_000))
    found = errors(f"services:\n{chain}  s3000: {{image: i}}\n")
    assert any("a chain of more than 50 services" in error for error in found)


# ---- include ----


def test_include_brings_its_own_directory_and_variables(loaded: Load, directory: Path) -> None:
    inner = directory / "inner"
    inner.mkdir()
    (inner / ".env").write_text("TAG=inner\nSHELL_TAG=inner\n")
    (inner / "compose.yml").write_text(
        "name: ignored\nvolumes: {data: }\n"
        "services:\n  db: {image: 'db:${TAG}-${SHELL_TAG}', volumes: ['./d:/d', 'data:/data']}\n"
    )
    (directory / ".env").write_text("MINE=1\n")
    app = loaded(
        "include: [inner/compose.yml]\nservices: {web: {image: 'i:${TAG:-none}', depends_on: [db]}}", env={"SHELL_TAG": "shell"}
    ).app
    db = next(service for service in app.services if service.name == "db")
    assert web(loaded("include: [inner/compose.yml]\nservices: {web: {image: 'i:${TAG:-none}'}}")).container.image == "i:none"
    assert db.container.image == "db:inner-shell"
    assert db.container.mounts == (
        BindMount(source=str(inner / "d"), target="/d"),
        VolumeMount(volume="shop_data", target="/data"),
    )


def test_include_in_long_form(loaded: Load, directory: Path) -> None:
    (directory / "a").mkdir()
    (directory / "a" / "one.yml").write_text("services: {db: {image: 'one:${V}', env_file: x.env}}")
    (directory / "a" / "two.yml").write_text("services: {db: {user: two}}")
    (directory / "v.env").write_text("V=7\n")
    (directory / "x.env").write_text("X=1\n")
    text = """
include:
  - path: [a/one.yml, ./a/two.yml]
    project_directory: .
    env_file: v.env
services: {web: {image: i}}
"""
    db = next(service for service in loaded(text).app.services if service.name == "db").container
    assert (db.image, db.user, db.environment) == ("one:7", "two", {"X": "1"})


def test_the_same_thing_included_twice_is_one(loaded: Load, directory: Path) -> None:
    (directory / "common.yml").write_text("services: {db: {image: db}}")
    for name in ("a", "b"):
        (directory / f"{name}.yml").write_text(f"include: [common.yml]\nservices: {{{name}: {{image: i}}}}")
    app = loaded("include: [a.yml, b.yml]\nservices: {web: {image: i}}").app
    assert sorted(service.name for service in app.services) == ["a", "b", "db", "web"]


def test_include_that_conflicts(errors: Errors, directory: Path) -> None:
    (directory / "inner.yml").write_text("services:\n  web: {image: other}\n")
    assert errors("include: [inner.yml]\nservices:\n  web: {image: i}\n") == [
        "inner.yml:2: services.web: 'web' is defined in compose.yml:3 too, and differently (rename one of them)"
    ]


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ("[compose.yml]", "compose.yml:1: include[0]: files include each other: compose.yml -> compose.yml"),
        ("[no.yml]", "compose.yml:1: include[0]: included file 'no.yml' does not exist"),
        ("no.yml", "compose.yml:1: include: expected a list of files"),
        ("[{env_file: a}]", "compose.yml:1: include[0]: 'path' is missing"),
        (
            "[{path: inner.yml, name: x}]",
            "compose.yml:1: include[0].name: unknown key (known are path, project_directory and env_file)",
        ),
        (
            "['https://example.org/compose.yml']",
            "compose.yml:1: include[0]: only local files can be included (fetch it first, and include the copy)",
        ),
        ("[{path: inner.yml, env_file: no.env}]", "compose.yml:1: include[0].env_file: env file 'no.env' does not exist"),
    ],
)
def test_include_that_can_t_be(errors: Errors, directory: Path, include: str, expected: str) -> None:
    (directory / "inner.yml").write_text("services: {inner: {image: i}}")
    assert errors(f"include: {include}\nservices: {{web: {{image: i}}}}") == [expected]


def test_include_in_a_circle(errors: Errors, directory: Path) -> None:
    (directory / "a.yml").write_text("include: [b.yml]\nservices: {a: {image: i}}")
    (directory / "b.yml").write_text("include: [a.yml]\nservices: {b: {image: i}}")
    assert errors("include: [a.yml]\nservices: {web: {image: i}}") == [
        "b.yml:1: include[0]: files include each other: a.yml -> b.yml -> a.yml"
    ]


# ---- profiles ----

PROFILES = """
services:
  web: {image: i}
  debug: {image: i, profiles: [debug], depends_on: [web]}
  tools: {image: i, profiles: [tools, debug]}
"""


@pytest.mark.parametrize(
    ("profiles", "env", "expected"),
    [
        ([], {}, ["web"]),
        (["debug"], {}, ["web", "debug", "tools"]),
        (["tools"], {}, ["web", "tools"]),
        (["other"], {}, ["web"]),
        (["*"], {}, ["web", "debug", "tools"]),
        ([], {"COMPOSE_PROFILES": "tools,x"}, ["web", "tools"]),
    ],
)
def test_profiles(loaded: Load, profiles: list[str], env: dict[str, str], expected: list[str]) -> None:
    found = loaded(PROFILES, profiles=profiles, env=env)
    assert [service.name for service in found.app.services] == expected
    assert list(found.resolved["services"]) == expected  # type: ignore[call-overload]


def test_a_profile_that_no_service_has(loaded: Load) -> None:
    assert [str(warning) for warning in loaded(PROFILES, profiles=["debgu", "*"]).warnings] == [
        "compose.yml:2: services: no service has the profile 'debgu' (did you mean 'debug'?)"
    ]


def test_a_dependency_that_is_not_active(errors: Errors, loaded: Load) -> None:
    text = "services:\n  web: {{image: i, depends_on: {}}}\n  debug: {{image: i, profiles: [debug]}}\n"
    assert errors(text.format("[debug]")) == [
        "compose.yml:2: services.web.depends_on.debug: service 'debug' is not active"
        " (activate a profile of it (debug), or set `required: false`)"
    ]
    assert web(loaded(text.format("{debug: {condition: service_started, required: false}}"))).depends_on == ()


def test_no_service_is_active(errors: Errors) -> None:
    assert errors("services:\n  web: {image: i, profiles: [a, b]}\n") == [
        "compose.yml:1: services: every service has a profile that is not active (profiles are a, b)"
    ]


def test_relative_paths_of_all_files_start_at_the_first(directory: Path) -> None:
    (directory / "a").mkdir()
    (directory / "b").mkdir()
    (directory / "a" / "one.yml").write_text("services: {web: {image: i, volumes: ['./x:/x']}}")
    (directory / "b" / "two.yml").write_text("services: {web: {volumes: ['./y:/y']}}")
    files = [Path("a/one.yml"), Path("b/two.yml")]
    sources = [mount.source for mount in load(files, app="shop", env={}).app.services[0].container.mounts]  # type: ignore[union-attr]
    assert sources == [str(directory / "a" / "x"), str(directory / "a" / "y")]
    elsewhere = load(files, app="shop", env={}, project_dir=Path("b")).app.services[0].container.mounts
    assert [mount.source for mount in elsewhere] == [str(directory / "b" / "x"), str(directory / "b" / "y")]  # type: ignore[union-attr]


def test_merging_does_not_hide_errors_of_either_file(directory: Path) -> None:
    (directory / "one.yml").write_text("services:\n  web: {image: i, bogus: 1}\n")
    (directory / "two.yml").write_text("services:\n  web:\n    deploy: {replicas: many}\n")
    with pytest.raises(ComposeError) as raised:
        load([Path("one.yml"), Path("two.yml")], env={})
    assert [str(error) for error in raised.value.errors] == [
        "one.yml:2: services.web.bogus: unknown key",
        "two.yml:3: services.web.deploy.replicas: expected a whole number, got 'many'",
    ]
