"""Rookery: a container cluster over a few machines. This package is what all its parts share."""

from rookery._version import VERSION

__version__ = VERSION
__all__ = ["VERSION", "__version__"]
