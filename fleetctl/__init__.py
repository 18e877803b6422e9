"""fleetctl: a terminal control plane for multi-cloud GPU fleets."""

__version__ = "0.1.0"
