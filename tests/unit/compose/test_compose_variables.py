"""Variables in compose files, `.env` files and `env_file`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rookery.compose import dotenv, load
from rookery.compose.diagnostics import Problems, Source
from rookery.compose.interpolate import BadVariable, interpolate
from rookery.compose.loader import Loaded
from rookery.model import ServiceSpec

Load = Callable[..., Loaded]
Errors = Callable[..., list[str]]
Service = Callable[..., ServiceSpec]

ENV = {"A": "a", "EMPTY": "", "N": "3", "DOLLAR": "$A"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no variable", "no variable"), ("$A", "a"), ("${A}", "a"), ("$A$A", "aa"), ("x${A}y$A.z", "xaya.z"), ("$A_", ""),
        ("$$A", "$A"), ("$$$A", "$a"), ("$$$$", "$$"), ("$${A}", "${A}"), ("${NO}", ""), ("${NO:-b}", "b"), ("${NO-b}", "b"),
        ("${EMPTY:-b}", "b"), ("${EMPTY-b}", ""), ("${A:-b}", "a"), ("${A-b}", "a"), ("${A:+r}", "r"), ("${NO:+r}", ""),
        ("${EMPTY:+r}", ""), ("${EMPTY+r}", "r"), ("${NO+r}", ""), ("${A:?e}", "a"), ("${EMPTY?e}", ""), ("${NO:-}", ""),
        ("${NO:-${A}}", "a"), ("${NO:-${NO:-${A}z}y}x", "azyx"), ("${NO:-$A}", "a"), ("${NO:-$$}", "$"), ("${A:+${N}}", "3"),
        ("${NO:-http://x:1/?a=b}", "http://x:1/?a=b"), ("${NO:-a:-b}", "a:-b"), ("${DOLLAR}", "$A"),
        ("${A:-${NO:?never asked}}", "a"),
    ],
)  # fmt: skip
def test_forms(text: str, expected: str) -> None:
    assert interpolate(text, ENV.get, lambda _: None) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NO:?set it}", "variable NO is required: set it"),
        ("${NO?}", "variable NO is required"),
        ("${EMPTY:?for ${A}}", "variable EMPTY is required: for a"),
        ("cost: 5$", "'$' begins no variable in 'cost: 5$'"),
        ("$1", "'$' begins no variable in '$1'"),
        ("${A", "'${' is never closed in '${A'"),
        ("${A:-${B}", "'${' is never closed in '${A:-${B}'"),
        ("${}", "'${}' names no variable"),
        ("${1A}", "'${1A}' names no variable"),
        ("${A!}", "'${A!}' is not understood"),
        ("${A b}", "'${A b}' is not understood"),
        ("${NO:-" * 30 + "x" + "}" * 30, "variables nested deeper than 20 levels"),
    ],
)
def test_faults(text: str, message: str) -> None:
    with pytest.raises(BadVariable) as raised:
        interpolate(text, ENV.get, lambda _: None)
    assert str(raised.value) == message


def test_an_unset_variable_is_warned_of_once(loaded: Load) -> None:
    text = "services:\n  web:\n    image: i:$TAG\n    hostname: h$TAG\n    user: ${USER-}\n"
    assert [str(warning) for warning in loaded(text).warnings] == [
        "compose.yml:3: services.web.image: variable TAG is not set, so it is empty (give it a default: ${TAG:-value})"
    ]


def test_a_required_variable_says_nothing_else(errors: Errors) -> None:
    text = "services:\n  web:\n    image: ${IMAGE:?name one}\n    ports: ['${PORT:?}:80']\n    deploy: {replicas: '${N?}'}\n"
    hint = "(set it in the environment or in .env)"
    assert errors(text) == [
        f"compose.yml:3: services.web.image: variable IMAGE is required: name one {hint}",
        f"compose.yml:4: services.web.ports[0]: variable PORT is required {hint}",
        f"compose.yml:5: services.web.deploy.replicas: variable N is required {hint}",
    ]


def test_values_of_variables_are_text_of_any_type(service: Service) -> None:
    spec = service(
        "environment: {A: '${NOTHING}', B: $NUL, C: $N}\ndeploy: {replicas: $N}\ninit: ${YES}\nports: ['${P}:80']",
        env={"N": "3", "YES": "true", "P": "8080", "NUL": "null"},
    )
    assert spec.container.environment == {"A": "", "B": "null", "C": "3"}
    assert (spec.mode, spec.container.init, spec.ports[0].published) == (type(spec.mode)(replicas=3), True, 8080)  # type: ignore[call-arg]


def test_keys_keep_their_dollars(service: Service) -> None:
    assert service("labels: {'$A': '$$A'}", env={"A": "a"}).container.labels == {"$A": "$A"}


def parse(content: str, *, raw: bool = False, **env: str) -> tuple[dict[str, str], list[str]]:
    problems = Problems()
    found = dotenv.parse(content, Source(name=".env", base=Path()), env, problems, raw=raw)
    return found, [str(error) for error in problems.errors]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("A=b", {"A": "b"}), ("A=", {"A": ""}), ("A= b ", {"A": "b"}), ("export A=b", {"A": "b"}), ("A = b", {"A": "b"}),
        ("A: b", {"A": "b"}), ("# A=b\n\nB=c", {"B": "c"}), ("A=b # c", {"A": "b"}), ("A=b#c", {"A": "b#c"}), ("A=#c", {"A": ""}),
        ("A='b # c'", {"A": "b # c"}), ('A="b # c" # d', {"A": "b # c"}), ("A='$X'", {"A": "$X"}), ('A="$X"', {"A": "x"}),
        ("A=$X", {"A": "x"}), ("A=$$X", {"A": "$X"}), ('A="b\\nc\\t\\"d\\""', {"A": 'b\nc\t"d"'}), ("A='b\\n'", {"A": "b\\n"}),
        ('A="b\nc"\nD=e', {"A": "b\nc", "D": "e"}), ("A='b\nc'", {"A": "b\nc"}), ("A=b\r\nC=d\r\n", {"A": "b", "C": "d"}),
        ("A=1\nB=${A}2", {"A": "1", "B": "12"}), ("X=mine\nB=$X", {"X": "mine", "B": "x"}), ("X", {"X": "x"}), ("UNKNOWN", {}),
        ("A=b=c", {"A": "b=c"}), ('A="\\$X"', {"A": "$X"}), ("A=${NO:-d}", {"A": "d"}), ("a.b-c=d", {"a.b-c": "d"}),
    ],
)  # fmt: skip
def test_env_file_syntax(content: str, expected: dict[str, str]) -> None:
    assert parse(content, X="x") == (expected, [])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("A=b\n= c", ".env:2: expected NAME=value, got '= c'"),
        ("A='b", ".env:1: A: the quote ' is never closed"),
        ("A='b' c", ".env:1: A: unexpected text after the closing quote: 'c'"),
        ("A=5$", ".env:1: A: '$' begins no variable in '5$' (write $$ for a dollar sign, or put the value in single quotes)"),
    ],
)
def test_env_file_faults(content: str, fault: str) -> None:
    assert parse(content)[1] == [fault]


def test_raw_env_files_are_taken_as_they_are() -> None:
    assert parse("# c\nA='$X' # d\n", raw=True) == ({"A": "'$X' # d"}, [])
    assert parse("A\n", raw=True)[1] == [".env:1: expected NAME=value"]


def test_dot_env_of_the_project_goes_after_the_environment(service: Service, directory: Path) -> None:
    (directory / ".env").write_text("USER=file\nHOST=file\n")
    container = service("user: $USER\nhostname: $HOST", env={"USER": "shell"}).container
    assert (container.user, container.hostname) == ("shell", "file")


def test_env_files_given_replace_dot_env(service: Service, directory: Path) -> None:
    (directory / ".env").write_text("A=1\nB=1\n")
    (directory / "one.env").write_text("A=2\n")
    (directory / "two.env").write_text("A=3\n")
    container = service("user: $A\nhostname: h$B", env_files=[Path("one.env"), Path("two.env")]).container
    assert (container.user, container.hostname) == ("3", "h")


def test_a_missing_env_file_given(errors: Errors) -> None:
    assert errors("services: {web: {image: i}}", env_files=[Path("no.env")]) == ["compose.yml: env file 'no.env' does not exist"]


def test_env_file_of_a_service(service: Service, directory: Path) -> None:
    (directory / "a.env").write_text("A=1\nB=1\nC=$X\n")
    (directory / "b.env").write_text("B=$2\n")
    keys = """
env_file:
  - a.env
  - {path: b.env, format: raw}
  - {path: no.env, required: false}
environment: [A=mine, X, UNSET]
"""
    assert service(keys, env={"X": "x"}).container.environment == {"A": "mine", "B": "$2", "C": "x", "X": "x"}


def test_one_env_file_and_a_missing_one(service: Service, errors: Errors, directory: Path) -> None:
    (directory / "a.env").write_text("A=1\n")
    assert service("env_file: ./a.env").container.environment == {"A": "1"}
    assert errors("services:\n  web:\n    image: i\n    env_file: [no.env]\n") == [
        "compose.yml:4: services.web.env_file[0].path: env file 'no.env' does not exist"
    ]


def test_environment_passes_through_what_is_set(service: Service) -> None:
    assert service("environment: {A: , B: null, C: '', D: ~}", env={"A": "1", "D": ""}).container.environment == {
        "A": "1",
        "C": "",
        "D": "",
    }


@pytest.mark.parametrize(
    ("top", "env", "app", "expected"),
    [
        ("", {}, None, "my_shop-1"),
        ("name: other\n", {}, None, "other"),
        ("name: a-${X}\n", {"X": "b"}, None, "a-b"),
        ("name: other\n", {"COMPOSE_PROJECT_NAME": "env"}, None, "env"),
        ("name: other\n", {"COMPOSE_PROJECT_NAME": "env"}, "arg", "arg"),
    ],
)
def test_the_name_of_the_app(
    tmp_path: Path, top: str, env: dict[str, str], app: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "_My_Shop-1."
    place.mkdir()
    monkeypatch.chdir(place)
    Path("compose.yml").write_text(f"{top}services: {{web: {{image: 'i:${{COMPOSE_PROJECT_NAME}}'}}}}")
    loaded = load([Path("compose.yml")], env=env, app=app)
    assert loaded.app.name == expected
    assert loaded.app.services[0].container.image == f"i:{expected}"
    assert loaded.resolved["name"] == expected


def test_a_bad_name(errors: Errors) -> None:
    hint = "(it is up to 63 lowercase letters, digits, '_' and '-', and begins with a letter or digit)"
    assert errors("name: My Shop\nservices: {web: {image: i}}", app=None) == [
        f"compose.yml:1: name: 'My Shop' is no valid name of an app {hint}"
    ]
    assert errors("services: {web: {image: i}}", app="My Shop") == [f"compose.yml: 'My Shop' is no valid name of an app {hint}"]
