"""`make chaos`: a storm of faults on four real engines, for as long as you like: python chaos.py [SECONDS] [SEED]."""

import sys
import time

from cluster import Cluster, web
from rig import Rig
from storm import REPLICAS, Storm


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 300.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    with Rig(4) as rig, Cluster(rig) as cluster:
        cluster.deploy(web(REPLICAS))
        print(
            f"a storm of {seconds:.0f} s from seed {seed}; again with: make chaos SECONDS={seconds:.0f} SEED={seed}", flush=True
        )
        report = Storm(cluster, seed).blow(seconds)
    print(report)
    return 1 if report.unexplained or report.writes_lost or report.restarted_needlessly else 0


if __name__ == "__main__":
    sys.exit(main())
