"""Between workers: channels with a byte limit, and the partition of rows by key."""

from streamlib.exchange.channel import Channel
from streamlib.exchange.partition import Partitioner

__all__ = ["Channel", "Partitioner"]
