"""The sending end: frames wait in a queue with a limit for each peer, and one thread sends them.

A client has one queue, which outlives its connections: a frame that was sent in part is sent again
whole on the next one. A server sends each frame to all who are connected; whoever cannot keep up for
longer than `patience` is dropped and counted, so that it does not hold up the others.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from streamlib.connectors.sockets.address import Address
from streamlib.connectors.sockets.dial import Dialer, Listener
from streamlib.connectors.sockets.loop import READ, WRITE, Loop
from streamlib.connectors.sockets.transport import Transport, peer_name
from streamlib.errors import Retry, SinkError

SENDS_MAX = 16
"""How often in a row one peer is sent to before others are looked at."""


@dataclass(frozen=True, slots=True)
class OutletOptions:
    """How connections are made and kept.

    Attributes:
        address: where to listen, or whom to connect to.
        tls: its context; None for plain connections.
        retry: attempts in a row of a client; None for one connection.
        connections_max: how many clients a server has at one time.
        clients: for how many of them the first row waits.
        queue_bytes_max: what may wait for one peer; a single larger frame may, too.
        patience_s: how long a peer may take nothing while its queue is full, in seconds.
        on_listen: gets the real address of a server once it listens.
    """

    address: Address
    tls: ssl.SSLContext | None
    retry: Retry | None
    connections_max: int
    clients: int
    queue_bytes_max: int
    patience_s: float
    on_listen: Callable[[str], object] | None


class Queue:
    """Frames for one peer, guarded by the outlet's lock."""

    __slots__ = ("frames", "moved_at", "nbytes", "offset")

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.nbytes = 0
        self.offset = 0  # of the first frame: how much has been sent
        self.moved_at = time.monotonic()

    def add(self, frame: bytes) -> None:
        """Puts a frame behind the others."""
        if not self.frames:
            self.moved_at = time.monotonic()
        self.frames.append(frame)
        self.nbytes += len(frame)

    def sent(self, nbytes: int) -> None:
        """So many bytes of the first frame have left."""
        self.offset += nbytes
        self.moved_at = time.monotonic()
        if self.offset == len(self.frames[0]):
            self.nbytes -= self.offset
            self.offset = 0
            self.frames.popleft()


class Peer:
    """One connection that is sent to. On the loop's thread."""

    def __init__(self, outlet: Outlet, transport: Transport, queue: Queue, head: bytes) -> None:
        self.queue, self.name = queue, peer_name(transport.sock)
        self._outlet, self._transport = outlet, transport
        self._head = memoryview(head)
        self._reads = True
        self.closed = False

    def ready(self, events: int) -> None:
        """Sends what there is, and throws away what comes."""
        if self.closed:
            return
        try:
            if events & READ and self._reads:
                self._discard()
            waiting = self._send()
        except OSError as error:
            self._outlet.lost(self, error)
            return
        if not self.closed:
            events = (READ if self._reads else 0) | (WRITE if waiting else 0)
            self._outlet.loop.watch(self._transport.sock, events, self)

    def _send(self) -> bool:
        """Whether something is left to be sent."""
        for _ in range(SENDS_MAX):
            with self._outlet.lock:
                frames = self.queue.frames
                if self._head:
                    data = self._head
                elif frames:
                    data = memoryview(frames[0])[self.queue.offset :]
                else:
                    return False
            count = self._transport.send(data)
            if not count:
                return True
            with self._outlet.lock:
                if self._head:
                    self._head = self._head[count:]
                elif self.closed:
                    return False
                else:
                    self.queue.sent(count)
                self._outlet.lock.notify_all()
        return True

    def _discard(self) -> None:
        data = self._transport.receive()
        if data == b"":
            self._reads = False
            # A client of ours may have closed only its sending side; a server that does that has gone.
            if not self._outlet.options.address.listens:
                raise ConnectionResetError("the peer has closed the connection")

    def finish(self, tail: bytes) -> None:
        """All has been sent: says so, and closes."""
        if not self.closed:
            if tail:
                self._transport.send(memoryview(tail))
            self._transport.end()
            self.close()

    def close(self) -> None:
        """Closes the connection."""
        if self.closed:
            return
        self.closed = True
        if self._transport.sock.fileno() >= 0:
            self._outlet.loop.watch(self._transport.sock, 0, self)
        self._transport.close()


class Outlet:
    """The connections of one sink in one run.

    Args:
        options: how they are made.
        head: what each begins with.
        tail: what each ends with.
    """

    def __init__(self, options: OutletOptions, head: bytes, tail: bytes) -> None:
        self.options, self.address = options, options.address
        self._head, self._tail = head, tail
        self.lock = threading.Condition()
        self.loop = Loop(f"streamlib-write-{options.address}", self._broken)
        self._queue = Queue()  # a client's
        self._peers: set[Peer] = set()
        self._ever = self._pending = 0
        self._error: Exception | None = None
        self._cancelled = False
        self._counts = {
            "connections": 0,
            "connections_refused": 0,
            "handshakes_failed": 0,
            "clients_dropped": 0,
            "rows_without_client": 0,
        }
        self._listener: Listener | None = None
        self._dialer: Dialer | None = None

    def start(self) -> None:
        """Listens, or begins to connect. Raises SinkError when it cannot listen."""
        o = self.options
        if o.address.listens:
            self._listener = Listener(
                self.loop, o.address, o.tls, SinkError, self._welcome, self._accepted, self._not_accepted
            )
            self.address = self._listener.address
            self.loop.call(self._listener.open)
        else:
            self._dialer = Dialer(
                self.loop, o.address, o.tls, o.retry, SinkError, self._connected, self._broken
            )
            self.loop.call(self._dialer.dial)
        self.loop.start()
        if self._listener is not None and o.on_listen is not None:
            o.on_listen(str(self.address))

    def send(self, frame: bytes, rows: int) -> None:
        """Queues a frame for everybody; waits while a queue is full. From any worker.

        Raises:
            SinkError: a client's peer cannot be reached any more.
        """
        with self.lock:
            self._check()
            if not self.options.address.listens:
                self._wait_for(lambda: self._has_room(self._queue), [self._queue])
                self._queue.add(frame)
            else:
                while self._ever < self.options.clients:
                    self.lock.wait()
                    self._check()
                self._wait_for(lambda: all(self._has_room(p.queue) for p in self._peers), None)
                for peer in self._peers:
                    peer.queue.add(frame)
                if not self._peers:
                    self._counts["rows_without_client"] += rows
            peers = list(self._peers)
        for peer in peers:
            self.loop.call(partial(peer.ready, 0))

    def flush(self) -> None:
        """Waits until everything has been handed to the system.

        Raises:
            SinkError: a client's peer cannot be reached any more.
        """
        with self.lock:
            self._check()
            if self.options.address.listens:
                while self._ever < self.options.clients:
                    self.lock.wait()
                    self._check()
                self._wait_for(lambda: not any(p.queue.frames for p in self._peers), None)
            else:
                self._wait_for(lambda: not self._queue.frames, [self._queue])

    def cancel(self) -> None:
        """Whoever waits here gives up."""
        with self.lock:
            self._cancelled = True
            self.lock.notify_all()

    def close(self, well: bool) -> None:
        """Ends the thread and all connections; `well`: says to the peers that this was all."""

        def release() -> None:
            for one in (self._listener, self._dialer):
                if one is not None:
                    one.close()
            for peer in list(self._peers):
                if well:
                    peer.finish(self._tail)
                peer.close()

        self.loop.close(release)

    def counters(self) -> dict[str, int]:
        """What was counted; without what did not happen."""
        with self.lock:
            return {name: count for name, count in self._counts.items() if count}

    # Waiting, under the lock.

    def _has_room(self, queue: Queue) -> bool:
        return queue.nbytes < self.options.queue_bytes_max

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._cancelled:
            raise SinkError("the run was cancelled", where=str(self.address))

    def _wait_for(self, done: Callable[[], bool], queues: list[Queue] | None) -> None:
        """Waits until `done`; peers who take nothing for too long are dropped meanwhile."""
        while not done():
            slow = self._drop_slow()
            waiting = queues or [peer.queue for peer in self._peers if peer.queue.frames]
            if slow or not waiting:
                continue
            since = min(queue.moved_at for queue in waiting)
            left = since + self.options.patience_s - time.monotonic()
            self.lock.wait(max(left, 0.001) if self._peers else None)
            self._check()

    def _drop_slow(self) -> bool:
        late = time.monotonic() - self.options.patience_s
        slow = [peer for peer in self._peers if peer.queue.frames and peer.queue.moved_at <= late]
        for peer in slow:
            self._peers.discard(peer)
            if self.options.address.listens:
                self._counts["clients_dropped"] += 1
                self.loop.call(peer.close)
            else:
                self.loop.call(partial(self.lost, peer, self._too_slow()))
        return bool(slow)

    def _too_slow(self) -> OSError:
        return TimeoutError(f"the peer took nothing for {self.options.patience_s:g} s")

    # On the loop's thread.

    def lost(self, peer: Peer, error: OSError) -> None:
        """A connection has failed."""
        peer.close()
        with self.lock:
            self._peers.discard(peer)
            peer.queue.offset = 0
            self.lock.notify_all()
        if self._dialer is not None and not self.loop.closing:
            if self.options.retry is None:
                self._broken(
                    SinkError(
                        "the connection was lost",
                        where=str(self.address),
                        got=error.strerror or str(error),
                        hint="with reconnect=True it is made again",
                    )
                )
            else:
                self._dialer.again(useful=True)

    def _broken(self, error: Exception) -> None:
        with self.lock:
            self._error = error
            self.lock.notify_all()

    def _connected(self, transport: Transport) -> None:
        self._add(Peer(self, transport, self._queue, self._head))

    def _welcome(self) -> bool:
        with self.lock:
            if len(self._peers) + self._pending >= self.options.connections_max:
                self._counts["connections_refused"] += 1
                return False
            self._pending += 1
            return True

    def _not_accepted(self) -> None:
        with self.lock:
            self._pending -= 1
            self._counts["handshakes_failed"] += 1

    def _accepted(self, transport: Transport) -> None:
        with self.lock:
            self._pending -= 1
        self._add(Peer(self, transport, Queue(), self._head))

    def _add(self, peer: Peer) -> None:
        with self.lock:
            self._peers.add(peer)
            self._ever += 1
            self._counts["connections"] += 1
            peer.queue.moved_at = time.monotonic()
            self.lock.notify_all()
        peer.ready(READ)
