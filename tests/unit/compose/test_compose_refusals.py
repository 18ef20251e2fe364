"""What can't be used is an error with its line and the way out; what is accepted without effect is a warning."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rookery.compose.loader import Loaded

Load = Callable[..., Loaded]
Errors = Callable[..., list[str]]


def table(name: str) -> list[tuple[str, str]]:
    """Keys of a service and the one finding about them: `files/NAME.txt` has blocks of lines that end in `=> LINE: finding`."""
    blocks = (Path(__file__).parent / "files" / f"{name}.txt").read_text().strip().split("\n\n")
    rows = [block.split("\n=> ") for block in blocks]
    return [(keys, f"compose.yml:{finding}") for keys, finding in rows]


def text(keys: str, rest: str = "") -> str:
    """A service with an image and these keys from line 4 on."""
    lines = "".join(f"    {line}\n" for line in keys.splitlines())
    return f"services:\n  web:\n    image: i\n{lines}{rest}"


@pytest.mark.parametrize(("keys", "expected"), table("errors"))
def test_errors_of_a_service(errors: Errors, keys: str, expected: str) -> None:
    assert errors(text(keys)) == [expected]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("services:\n  web: {}\n", "compose.yml:2: services.web: 'image' is missing"),
        ("services:\n  web:\n", "compose.yml:2: services.web: 'image' is missing"),
        ("services:\n  web: text\n", "compose.yml:2: services.web: expected a mapping, got 'text'"),
        (
            "services:\n  web:\n    build: .\n",
            "compose.yml:3: services.web.build: nothing is built on a cluster"
            " (build and push the image, and name it with `image:`)",
        ),
        (
            "services:\n  Web: {image: i}\n",
            "compose.yml:2: services.Web: 'Web' is no valid name of a service"
            " (it is up to 63 lowercase letters, digits, '_' and '-', and begins with a letter or digit)",
        ),
        ("service: {}\nservices: {a: {image: i}}\n", "compose.yml:1: service: unknown key (did you mean 'services'?)"),
        ("services: []\n", "compose.yml:1: services: expected a mapping, got a list"),
        (
            "services:\n  a: {image: i, depends_on: [b]}\n  b: {image: i, depends_on: [c]}\n  c: {image: i, depends_on: [a]}\n",
            "compose.yml:2: services.a.depends_on: services wait for each other: a -> b -> c -> a",
        ),
        (
            "services:\n  a: {image: i, ports: ['80:80']}\n  b: {image: i, ports: ['80:81']}\n",
            "compose.yml:3: services.b.ports: port 80/tcp is published twice (by services.a (compose.yml:2) too)",
        ),
        (
            "services:\n  a: {image: i, ports: ['80:80']}\n  b: {image: i, x-rookery: {http: {port: 1, host: a.b}}}\n",
            "compose.yml:3: services.b.x-rookery: port 80/tcp is published twice (by services.a (compose.yml:2) too)",
        ),
        (
            "services: {a: {image: i, secrets: [s]}}\nsecrets:\n  s: {file: no.txt}\n",
            "compose.yml:3: secrets.s.file: secret file 'no.txt' does not exist",
        ),
        (
            "services: {a: {image: i, configs: [s]}}\nconfigs:\n  s: {file: .}\n",
            "compose.yml:3: configs.s.file: config file '.' is not a file",
        ),
        (
            "services: {a: {image: i, secrets: [s]}}\nsecrets:\n  s: {environment: NO}\n",
            "compose.yml:3: secrets.s.environment: variable NO is not set (set it in the environment or in .env)",
        ),
        (
            "services: {a: {image: i, secrets: [s]}}\nsecrets:\n  s: {external: true, file: f}\n",
            "compose.yml:3: secrets.s.file: an external secret has its content in the cluster"
            " (leave out `file:`, or `external:`)",
        ),
        (
            "services: {a: {image: i, secrets: [s]}}\nsecrets:\n  s: {}\n",
            "compose.yml:3: secrets.s: expected one of file, environment or external",
        ),
        (
            "services: {a: {image: i, configs: [s]}}\nconfigs:\n  s: {content: a, environment: B}\n",
            "compose.yml:3: configs.s: expected one of file, environment, content or external, got environment and content",
        ),
        (
            "services: {a: {image: i, networks: [n]}}\nnetworks:\n  n: {driver: host}\n",
            "compose.yml:3: networks.n.driver: 'host' is no driver to make a network with"
            " (write `network_mode: host` on the service)",
        ),
        (
            "services: {a: {image: i}}\nx-rookery: {}\n",
            "compose.yml:2: x-rookery: belongs under a service (move it to `services.NAME.x-rookery`)",
        ),
        ("services: {a: {image: i}}\nvolumes: {'a b': }\n",
         "compose.yml:2: volumes.a b: 'a b' is no valid name"
         " (a name is up to 63 letters, digits, '.', '_' and '-', and begins with a letter or digit)"),
    ],
)  # fmt: skip
def test_errors_of_a_document(errors: Errors, document: str, expected: str) -> None:
    assert errors(document) == [expected]


def test_a_secret_too_large(errors: Errors, directory: object) -> None:  # noqa: ARG001 (files are written there)
    with open("big", "wb") as file:
        file.write(os.urandom(500_001))
    assert errors("services: {a: {image: i, secrets: [s]}}\nsecrets:\n  s: {file: big}\n") == [
        "compose.yml:3: secrets.s.file: larger than the 500,000 bytes that a secret can have (use a volume)"
    ]


@pytest.mark.parametrize(("keys", "expected"), table("warnings"))
def test_warnings_of_a_service(loaded: Load, keys: str, expected: str) -> None:
    assert [str(warning) for warning in loaded(text(keys)).warnings] == [expected]


def test_a_dependency_that_says_nothing_of_its_health_or_never_ends(loaded: Load) -> None:
    document = """
services:
  web:
    image: i
    depends_on: {a: {condition: service_healthy}, b: {condition: service_completed_successfully}}
  a: {image: i, healthcheck: {disable: true}}
  b: {image: i, restart: always}
"""
    assert [str(warning) for warning in loaded(document).warnings] == [
        "compose.yml:5: services.web.depends_on.a: 'a' has no health check, so it counts as healthy when it runs",
        "compose.yml:5: services.web.depends_on.b: 'b' is restarted whenever it ends, so it never completes"
        " (give it `restart: on-failure` or `deploy.mode: replicated-job`)",
    ]
