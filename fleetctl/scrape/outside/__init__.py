"""Signals from outside the fleet: one number each, or why there is none."""

from fleetctl.scrape.outside.sources import OutsideSources

__all__ = ["OutsideSources"]
