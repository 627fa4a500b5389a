"""Payments, each completed with a score that a service gives, and with the merchant's terms at that time.

    python examples/enrich_from_service.py
    python examples/enrich_from_service.py --rows 20000 --concurrency 200 --failing 0.05

The service listens on the loopback, in this process. It takes a moment for each answer, and sometimes
closes the connection instead: then the call is made again. Payments for which it never answers
are counted and printed as dead letters.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import random
import threading
from collections.abc import Iterator

import pyarrow as pa

import streamlib as sl
from streamlib import col

MERCHANTS = ("bakery", "books", "bikes")
TERMS = pa.table(
    {
        "merchant": ["bakery", "books", "bikes", "books"],
        "since": pa.array(["2026-01-01", "2026-01-01", "2026-01-01", "2026-01-05"]).cast(pa.timestamp("s")),
        "fee": [0.010, 0.030, 0.025, 0.020],
    }
)
"""The fee of a merchant, from a day on."""


def payments(rows: int, seed: int = 1) -> pa.Table:
    """Payments of one day, by the second."""
    dice = random.Random(seed)
    begin = 1_767_571_200  # 2026-01-05
    times = sorted(begin - 3_600 + dice.randrange(7_200) for _ in range(rows))
    return pa.table(
        {
            "ts": pa.array(times, pa.timestamp("s")),
            "payment": range(rows),
            "merchant": [dice.choice(MERCHANTS) for _ in range(rows)],
            "amount": [round(dice.uniform(1, 500), 2) for _ in range(rows)],
        }
    )


class Scores:
    """The client: a few connections, each used by one call at a time. Each worker has its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __call__(self, ts: object, payment: int, merchant: str, amount: float) -> dict[str, object]:
        """Asks for the score of a payment; raises when the service hangs up."""
        reader, writer = (
            self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
        )
        try:
            writer.write(json.dumps({"payment": payment, "amount": amount}).encode() + b"\n")
            answer = await reader.readline()
            if not answer:
                raise ConnectionError("the service hung up")
        except BaseException:
            writer.close()
            raise
        self.idle.append((reader, writer))
        score = json.loads(answer)["score"]
        return {"ts": ts, "payment": payment, "merchant": merchant, "amount": amount, "score": score}

    async def close(self) -> None:
        """Closes the connections."""
        for _, writer in self.idle:
            writer.close()


SCORED = {"ts": "timestamp[s]", "payment": int, "merchant": str, "amount": float, "score": float}


def scored(rows: sl.Stream, port: int, concurrency: int) -> sl.Stream:
    """The payments with their scores; those without an answer are dead letters."""
    return rows.map_async(
        functools.partial(Scores, port),
        concurrency,
        timeout="5s",
        retry=sl.Retry(attempts=4, wait=0.01),
        schema=SCORED,
    ).on_error("dead_letter")


def hourly(rows: sl.Stream) -> sl.Stream:
    """Payments, fees and risk of each merchant, with the terms that held at each payment's time."""
    terms = sl.read_table(TERMS, key="merchant", valid_from="since")
    charged = rows.lookup_join(terms).with_columns(fee=col("fee") * col("amount"))
    return (
        charged.key_by("merchant")
        .window(sl.tumbling("1h"))
        .agg(payments=sl.count(), fees=col("fee").sum(), risk=col("score").mean())
    )


@contextlib.contextmanager
def service(failing: float, seed: int = 1) -> Iterator[int]:
    """The service, on a thread of its own; gives its port. It hangs up on some calls."""
    dice = random.Random(seed)
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    ports: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                await asyncio.sleep(0)
                if dice.random() < failing:
                    break
                asked = json.loads(line)
                score = round(min(1.0, asked["amount"] / 500), 3)
                writer.write(json.dumps({"score": score}).encode() + b"\n")
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def main(arguments: list[str] | None = None) -> sl.Report:
    """Runs it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000, help="how many payments")
    parser.add_argument("--concurrency", type=int, default=100, help="how many are asked for at a time")
    parser.add_argument("--failing", type=float, default=0.02, help="how often the service hangs up, 0 to 1")
    chosen = parser.parse_args(arguments)
    with service(chosen.failing) as port:
        rows = sl.read_arrow(payments(chosen.rows)).event_time("ts", max_delay="0s")
        answered = scored(rows, port, chosen.concurrency)
        unanswered = answered.dead_letters.select("payment", "error_message", "error_attempts")
        return sl.run(hourly(answered).print(), unanswered.print(rows=5))


if __name__ == "__main__":
    print(main())
