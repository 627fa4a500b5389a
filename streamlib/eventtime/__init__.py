"""Watermarks as pure data: one split's progress, the frontier over many, and progress at a step's inputs."""

from streamlib.eventtime.clock import ClockState, EventClock, IdlePolicy
from streamlib.eventtime.inputs import InputProgress
from streamlib.eventtime.splits import SplitTime

__all__ = ["ClockState", "EventClock", "IdlePolicy", "InputProgress", "SplitTime"]
