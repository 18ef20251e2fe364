"""The manager: decides what runs where, and keeps it so."""

import rookery as _first  # says what gRPC may write, which gRPC looks at when it is loaded: `main` loads it before ours  # noqa: F401
