"""`python -m rig clean` takes down the rigs whose owners are dead; `python -m rig up [N]` makes one and keeps it until Enter;
`python -m rig lab [N]` makes one with a cluster on it, and a prompt for faults."""

import sys

from rig import lab
from rig.ledger import Ledger
from rig.rig import Rig


def main() -> None:
    match sys.argv[1:]:
        case ["clean"]:
            for ledger in Ledger.abandoned():
                print(f"taking down rig {ledger.number}")
                ledger.take_down()
        case ["up", *rest]:
            with Rig(int(rest[0]) if rest else 3) as rig:
                for host in rig.hosts:
                    print(f"{host.name}  {host.address}  namespace {host.namespace}  DOCKER_HOST={host.engine.url}")
                input("Enter takes it down ")
        case ["lab", *rest]:
            lab.run(int(rest[0]) if rest else 3)
        case _:
            sys.exit("usage: python -m rig clean | up [HOSTS] | lab [HOSTS]")


if __name__ == "__main__":
    main()
