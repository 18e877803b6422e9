"""An inventory of machines of one's own, in a file of its own."""

from pathlib import Path

import yaml

from fleetctl.errors import UsageError


def read_inventory(path: str) -> list[object]:
    """The list that the YAML file holds. Raises `UsageError`, also for a path that depends on where one stands."""
    file = Path(path).expanduser()
    if not file.is_absolute():
        # The daemon stands elsewhere than who wrote the file.
        raise UsageError(
            f"providers.ssh.inventory: {path}: an absolute path is wanted, or one that begins with ~",
            hint=f"write {file.absolute()}",
        )
    try:
        found = yaml.safe_load(file.read_text())
    except OSError as error:
        raise UsageError(f"providers.ssh.inventory: {file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"providers.ssh.inventory: {file} is no YAML: {error}") from error
    if not isinstance(found, list):
        raise UsageError(f"providers.ssh.inventory: {file} holds no list of machines")
    return found
