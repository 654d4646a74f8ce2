"""As little HTTP as measuring needs: a client that costs far less than the server it measures."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Connection:
    """One kept-alive HTTP/1.1 connection to this machine."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    port: int
    seconds: list[float] = field(default_factory=list)
    """How long each answer took."""
    statuses: list[int] = field(default_factory=list)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request and read the whole answer, as JSON if it has a body."""
        started = time.perf_counter()
        self._send(method, path, body)
        await self.writer.drain()
        status, headers = await self._head()
        content = await self.reader.readexactly(int(headers.get("content-length", 0)))
        self.seconds.append(time.perf_counter() - started)
        self.statuses.append(status)
        return json.loads(content) if content else None

    async def listen(self, path: str) -> AsyncIterator[tuple[str, Any]]:
        """Kinds and data of server-sent events, to the end of the stream."""
        self._send("GET", path, None)
        await self.writer.drain()
        status, _ = await self._head()
        self.statuses.append(status)
        kind = ""
        # Chunk sizes stand on lines of their own, which no line of an event looks like.
        while line := await self.reader.readline():
            text = line.decode().rstrip("\r\n")
            if text.startswith("event: "):
                kind = text[7:]
            elif text.startswith("data: "):
                yield kind, json.loads(text[6:])
                if kind == "end":
                    return

    def _send(self, method: str, path: str, body: Any) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + content)

    async def _head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[Connection]:
    """A connection, closed at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer, port)
    finally:
        writer.close()
