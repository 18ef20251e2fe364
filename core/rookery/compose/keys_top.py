"""The keys at the top of a compose file, and the description of the whole."""

from rookery.compose import forms, judges
from rookery.compose.keys_service import SERVICE
from rookery.compose.schema import (
    FLAG,
    PAIRS,
    PATH,
    TEXT,
    TEXT_OR_TEXTS,
    Anything,
    ListOf,
    Named,
    Object,
    Text,
    no_effect,
    refused,
    works,
)

INCLUDE = ListOf(
    item=Object(
        keys={
            "path": works(TEXT_OR_TEXTS, "one file, or several that are merged"),
            "project_directory": works(TEXT, "default the directory of the first file"),
            "env_file": works(TEXT_OR_TEXTS, "default .env in the project directory"),
        },
        required=("path",),
        expand=forms.path_of,
        extensions=False,
    ),
    expand=forms.path_of,
)

NETWORK = Object(
    keys={
        "name": works(TEXT, "the engine's name for it; default APP_NAME"),
        "driver": works(TEXT, "default bridge; overlay is made as bridge, with a warning"),
        "driver_opts": works(PAIRS),
        "external": works(FLAG, "never created; it must be there on each node"),
        "internal": works(FLAG),
        "labels": works(PAIRS),
        "attachable": no_effect(FLAG, "networks are the engine's own, and attachable"),
        "enable_ipv4": no_effect(FLAG, "addresses are given by each node's engine"),
        "enable_ipv6": no_effect(FLAG, "addresses are given by each node's engine"),
        "ipam": no_effect(Anything(), "addresses are given by each node's engine"),
    },
    tidy=forms.external,
)

VOLUME = Object(
    keys={
        "name": works(TEXT, "the engine's name for it; default APP_NAME"),
        "driver": works(TEXT),
        "driver_opts": works(PAIRS),
        "external": works(FLAG, "never created; it must be there on each node"),
        "labels": works(PAIRS),
    },
    tidy=forms.external,
)

_FILE = {
    "file": works(PATH),
    "environment": works(TEXT, "the variable that holds the content"),
    "name": works(TEXT, "with `external`: its name in the cluster; default its key"),
    "labels": no_effect(PAIRS, "secrets and configs have no labels"),
    "template_driver": refused("templates are not supported", "give the content as it should be"),
    "external": works(FLAG, "made with `rookery secret create` or `rookery config create`"),
}

APP = Object(
    keys={
        "version": no_effect(TEXT, "there is one format, the Compose specification", "leave it out"),
        "name": works(Text(check=judges.app_name), "the app's name; default that of the directory"),
        "include": works(INCLUDE),
        "services": works(Named(value=SERVICE, name_check=judges.service_name)),
        "networks": works(Named(value=NETWORK, name_check=judges.name)),
        "volumes": works(Named(value=VOLUME, name_check=judges.name)),
        "secrets": works(
            Named(
                value=Object(
                    keys={
                        **_FILE,
                        "driver": refused("secret drivers are not supported", "give `file:`, `environment:` or `external: true`"),
                        "driver_opts": refused(
                            "secret drivers are not supported", "give `file:`, `environment:` or `external: true`"
                        ),
                    },
                    tidy=forms.external,
                ),
                name_check=judges.name,
            )
        ),
        "configs": works(
            Named(
                value=Object(keys={**_FILE, "content": works(Anything(), "the content itself")}, tidy=forms.external),
                name_check=judges.name,
            )
        ),
        "models": refused("models are not supported", "run the model as a service"),
        "x-rookery": refused("belongs under a service", "move it to `services.NAME.x-rookery`"),
    }
)
