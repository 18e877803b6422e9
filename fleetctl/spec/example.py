"""The first fleet that `fleetctl init` writes."""

import json
from pathlib import Path

from fleetctl.spec.schema import json_schema


def example_files() -> tuple[tuple[str, str], ...]:
    """Relative path and text of each file: a fleet that works at once on a laptop, and the schema that it names."""
    chat, fleet = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("chat.yaml", "fleet.yaml"))
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False)
    return (("fleet/chat.yaml", chat), ("fleet/fleet.yaml", fleet), ("fleet/schema.json", f"{schema}\n"))
