"""Why there is no output: for each step how many windows are open, what for they wait, and what holds them."""

from streamlib.observe.why.answer import step_names, waiting_line, why
from streamlib.observe.why.model import Cause, StepWhy, Why

__all__ = ["Cause", "StepWhy", "Why", "step_names", "waiting_line", "why"]
