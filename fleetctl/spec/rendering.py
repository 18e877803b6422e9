"""Plain data as YAML, for `-o yaml`."""

import yaml


def to_yaml(body: object) -> str:
    """Block style, keys in the order given."""
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=120)
