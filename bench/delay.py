"""A line with a round trip, for TCP: where the kernel has no netem.

    python3 delay.py PORT TO-HOST TO-PORT ROUND-TRIP-MS

Takes connections on loopback and hands what comes on, either way, half a round trip later; a
connection is opened a whole one later. It has no bandwidth, no loss, and no delay of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from functools import partial


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """One direction, in order."""
    late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    clock = asyncio.get_running_loop().time

    async def hand_on() -> None:
        while True:
            due, data = await late.get()
            await asyncio.sleep(due - clock())
            if not data:
                break
            writer.write(data)
            await writer.drain()

    handing = asyncio.create_task(hand_on())
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            late.put_nowait((clock() + seconds, data))
    late.put_nowait((clock() + seconds, b""))
    with contextlib.suppress(ConnectionError):
        await handing
    writer.close()


async def take(
    host: str,
    port: int,
    seconds: float,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """One connection."""
    await asyncio.sleep(seconds)
    there, back = await asyncio.open_connection(host, port)
    await asyncio.gather(pipe(reader, back, seconds / 2), pipe(there, writer, seconds / 2))


async def main(port: int, host: str, to: int, milliseconds: float) -> None:
    """Until it is ended."""
    server = await asyncio.start_server(
        partial(take, host, to, milliseconds / 1000), "127.0.0.1", port
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
