"""How a streaming call goes on over lost connections: the decisions, without I/O, for both clients."""

from typing import Generic, TypeVar

from google.protobuf.message import Message

from rookery.client.calls import Stream
from rookery.client.errors import ClientError, Unreachable

T = TypeVar("T")
_WAIT_S = (0.1, 0.2, 0.5, 1.0, 2.0)


class Following(Generic[T]):
    """Where a stream stands. `request` is what to ask for next; it is never one that would give a value twice."""

    def __init__(self, stream: Stream[T]) -> None:
        self.request: Message = stream.request
        self._stream = stream
        self._failures = 0

    def saw(self, value: T) -> None:
        self._failures = 0
        if self._stream.resume is not None:
            self.request = self._stream.resume(value)

    def retry_after(self, error: ClientError | None) -> float | None:
        """Seconds until `request` may be sent again, after the stream ended so; None: it has ended for good."""
        if self._stream.resume is None:
            return None
        if error is not None and error.code == "OUT_OF_RANGE" and self._stream.afresh is not None:
            self.request = self._stream.afresh
        elif error is not None and not isinstance(error, Unreachable):
            return None
        self._failures += 1
        return _WAIT_S[min(self._failures, len(_WAIT_S)) - 1]
