"""Answers of the engine that go on for as long as they are read: events, logs, output of commands.

Invariant: one thread reads and closes; any other may interrupt it, at once, however long the engine stays silent.
"""

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from docker.errors import create_api_error_from_http_exception

_BEGIN_S = 20.0


class Stream:
    """A streaming answer to a GET, or to a POST where there is a body. Raises docker's errors, as other calls do.

    It begins within `begin_s`; after that the engine may be silent for as long as it likes.
    """

    def __init__(
        self,
        client: Any,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        begin_s: float = _BEGIN_S,
    ) -> None:
        url = f"{client.base_url}/v{client.api_version}{path}"
        verb = "GET" if body is None else "POST"
        self._response = client.request(
            verb, url, params=params, headers=headers, json=body, stream=True, timeout=(_BEGIN_S, begin_s)
        )
        try:
            self._response.raise_for_status()
        except requests.exceptions.HTTPError as error:
            try:
                create_api_error_from_http_exception(error)
            finally:
                self._response.close()
        with contextlib.suppress(AttributeError, OSError):
            self._socket().settimeout(None)

    def pieces(self) -> Iterator[bytes]:
        """What comes, as it comes."""
        yield from self._response.iter_content(chunk_size=None)

    def messages(self) -> Iterator[Any]:
        """JSON values, a line each."""
        held = b""
        for piece in self.pieces():
            *whole, held = (held + piece).split(b"\n")
            for line in whole:
                if line.strip():
                    yield json.loads(line)

    def frames(self) -> Iterator[tuple[bool, bytes]]:
        """Pieces of a container's output with whether they are of standard error."""
        held = b""
        for piece in self.pieces():
            held += piece
            while len(held) >= 8:
                size = int.from_bytes(held[4:8], "big")
                if len(held) < 8 + size:
                    break
                yield held[0] == 2, held[8 : 8 + size]
                held = held[8 + size :]

    def interrupt(self) -> None:
        """Makes the reading thread see an end."""
        with contextlib.suppress(AttributeError, OSError, ValueError):
            self._socket().shutdown(socket.SHUT_RDWR)

    def _socket(self) -> Any:
        raw = self._response.raw._fp.fp.raw
        return getattr(raw, "_sock", None) or raw.sock

    def close(self) -> None:
        self._response.close()
