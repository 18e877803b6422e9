"""The key by which Nodes of one fleet know each other."""

import stat
from pathlib import Path

import pytest

from fleetctl.errors import StoreFailure
from fleetctl.node.peer_key import peer_key
from fleetctl.paths import Home


def test_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")

    key = peer_key(home)

    assert peer_key(home) == key and len(bytes.fromhex(key)) == 32
    file = home.root / "peer_key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in home.root.iterdir()] == ["peer_key"]


def test_each_fleet_has_its_own(tmp_path: Path) -> None:
    assert peer_key(Home(tmp_path / "one")) != peer_key(Home(tmp_path / "two"))


def test_a_damaged_one_is_told(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (home.root / "peer_key").write_text("short\n")

    with pytest.raises(StoreFailure, match="peer_key is damaged"):
        peer_key(home)
