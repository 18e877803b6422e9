"""Any HTTP server that the Service itself describes: `command` or `image`, `metrics`, `readiness_path`."""

from fleetctl.engines.engine import Engine

ENGINE = Engine(name="generic", loads=(), concurrency=1)
