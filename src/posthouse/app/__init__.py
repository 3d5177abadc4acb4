"""The composition root: the only part that knows every other."""

from posthouse.app.application import RUN, Application
from posthouse.app.options import build_snapshot, run_options

__all__ = ["RUN", "Application", "build_snapshot", "run_options"]
