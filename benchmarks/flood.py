"""How long signed deliveries take while strangers attack the server.

A real ``deploycore serve`` on SQLite, without workers and without a proxy before it. One client
sends a signed delivery after another from 127.0.0.1, each on a connection of its own, as git
hosts do. Meanwhile another process attacks from the addresses 127.0.0.2 to 127.0.0.5. All share
this machine's processors, so a part of each latency is the attacker's own work.

Run: python benchmarks/flood.py [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from figures import percentile, resident
from webhooks import install, prepare, signed, start

MOST_MILLISECONDS = 1000.0
"""What a signed delivery may take at the 99th percentile, whatever strangers do."""

ADDRESSES = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"]
BYTES_A_SECOND = 2_000_000
BODY = 1024 * 1024
PAUSE = 0.05
HEAD = "POST /webhooks/application-{number} HTTP/1.1\r\nHost: x\r\n"

Attack = Callable[[int, str], Awaitable[None]]


async def send_small_chunks(port: int, address: str) -> None:
    """One-byte chunks, 2 MB/s from all addresses together."""
    piece = b"1\r\nx\r\n" * 2000
    pause = len(piece) * len(ADDRESSES) / BYTES_A_SECOND
    _, writer = await connected(port, address)
    writer.write(HEAD.format(number=1).encode() + b"Transfer-Encoding: chunked\r\n\r\n")
    try:
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
    finally:
        writer.close()


async def hold_large_body(port: int, address: str) -> None:
    """A body of the largest size, of which the last byte never comes; 64 of them at once."""
    reader, writer = await connected(port, address)
    writer.write(HEAD.format(number=1).encode() + f"Content-Length: {BODY}\r\n\r\n".encode())
    writer.write(b"x" * (BODY - 1))
    try:
        await writer.drain()
        await reader.read()
    finally:
        writer.close()
    await asyncio.sleep(0.1)


async def drip_headers(port: int, address: str) -> None:
    """A header that never ends, a few bytes a second, on many connections."""
    _, writer = await connected(port, address)
    writer.write(HEAD.format(number=1).encode())
    try:
        while True:
            writer.write(b"X-A: b\r\n")
            await writer.drain()
            await asyncio.sleep(1)
    finally:
        writer.close()


async def say_nothing(port: int, address: str) -> None:
    """Connections on which nothing is said, made anew as soon as they end."""
    reader, writer = await connected(port, address)
    try:
        await reader.read()
    finally:
        writer.close()
    await asyncio.sleep(0.1)


ATTACKS: dict[str, tuple[Attack, int]] = {
    "one-byte chunks, 2 MB/s": (send_small_chunks, 1),
    "64 bodies of 1 MiB held": (hold_large_body, 16),
    "1,000 dripping headers": (drip_headers, 250),
    "2,400 idle connections": (say_nothing, 600),
}
"""By name: what is done, and on how many connections of each address."""


async def connected(port: int, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection from an address."""
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))


async def attack(name: str, port: int) -> None:
    """Attack until this process is ended."""
    perform, connections = ATTACKS[name]

    async def forever(address: str) -> None:
        while True:
            with suppress(OSError):
                await perform(port, address)
            await asyncio.sleep(0.05)

    await asyncio.gather(*(forever(each) for each in ADDRESSES for _ in range(connections)))


async def deliver(port: int, requests: list[bytes], seconds: float) -> tuple[list[float], Counter]:
    """Send one delivery after another; gives milliseconds, and how many had which status."""
    taken, statuses = [], Counter()
    until = time.perf_counter() + seconds
    for data in requests:
        began = time.perf_counter()
        if began > until:
            break
        status = "none"
        with suppress(OSError, ValueError, TimeoutError):
            async with asyncio.timeout(30):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(data)
                status = (await reader.readline()).split()[1].decode()
                writer.close()
        taken.append((time.perf_counter() - began) * 1000)
        statuses[status] += 1
        await asyncio.sleep(PAUSE)
    return taken, statuses


def main() -> None:
    """Print the table, and fail where signed deliveries take too long or are refused."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="5 seconds of each, instead of 40")
    parser.add_argument("--attack", nargs=2, metavar=("NAME", "PORT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if given.attack:
        asyncio.run(attack(given.attack[0], int(given.attack[1])))
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        environ = install(directory)
        secrets = prepare(directory, applications=20)
        process, port = start(environ)
        try:
            is_well = run_all(port, secrets, 5 if given.quick else 40, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    if not is_well:
        raise SystemExit(3)


def run_all(port: int, secrets: dict, seconds: float, server: int) -> bool:
    """Measure without and with each attack; tells whether all was well."""
    requests = [each.data for each in signed(secrets, range(20_000))]
    is_well = True
    print(f"{'attack':26} {'count':>6} {'p50, ms':>9} {'p99, ms':>9} {'worst':>9}  statuses")
    for name in [None, *ATTACKS]:
        attacker = None if name is None else begin_attack(name, port)
        try:
            taken, statuses = asyncio.run(deliver(port, requests, seconds))
        finally:
            if attacker is not None:
                attacker.kill()
                attacker.wait()
        requests = requests[len(taken) :]
        told = ", ".join(f"{status}: {count}" for status, count in statuses.items())
        print(
            f"{name or 'none':26} {len(taken):6,} {percentile(taken, 50):9.1f}"
            f" {percentile(taken, 99):9.1f} {max(taken):9.1f}  {told}",
            flush=True,
        )
        is_well &= percentile(taken, 99) < MOST_MILLISECONDS and set(statuses) == {"202"}
    print(f"memory of the server: {resident(server):.0f} MiB")
    print(f"allowed at p99: {MOST_MILLISECONDS:,.0f} ms, all accepted: {'ok' if is_well else 'NO'}")
    return is_well


def begin_attack(name: str, port: int) -> subprocess.Popen[bytes]:
    """Start the attacker, and let it come to its pace."""
    command = [sys.executable, os.path.abspath(__file__), "--attack", name, str(port)]
    process = subprocess.Popen(command)
    time.sleep(3)
    return process


if __name__ == "__main__":
    main()
