"""Rookery: a container cluster over a few machines. This package is what all its parts share."""

import os

from rookery._version import VERSION

# The C core's own lines (a peer that goes away, a port that is taken) would stand between ours; what they mean is told by who
# meets it. gRPC looks at this when it is loaded, so it is set here, before any module of ours can load it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

__version__ = VERSION
__all__ = ["VERSION", "__version__"]
