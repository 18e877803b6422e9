"""A provider's settings as the fleet's file has them, read with types and told by name when they are wrong."""

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from fleetctl.errors import UsageError


class Options:
    """The mapping under `providers.NAME`, of which only the `known` keys may be there. Raises `UsageError`."""

    def __init__(self, provider: str, given: Mapping[str, object], known: Sequence[str]) -> None:
        self._provider = provider
        self._given = given
        for key in given:
            if key not in known:
                raise UsageError(
                    f"providers.{provider}.{key}: there is no such setting", hint=f"one of: {', '.join(sorted(known))}"
                )

    def text(self, key: str, default: str = "") -> str:
        value = self._given.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "a text", value)
        return value

    def whole(self, key: str, default: int, *, least: int = 0) -> int:
        value = self._given.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(key, f"a whole number of at least {least}", value)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._given.get(key, ())
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise self.wrong(key, "a list of texts", value)
        if not all(isinstance(one, str) and one for one in value):
            raise self.wrong(key, "a list of texts", list(value))
        return tuple(dict.fromkeys(value))

    def sources(self, key: str) -> tuple[str, ...]:
        """Networks in CIDR form, in the spelling that clouds give back."""
        try:
            return tuple(str(ipaddress.ip_network(one)) for one in self.texts(key))
        except ValueError as error:
            raise self.wrong(key, "a list of networks, as in 203.0.113.0/24", str(error)) from None

    def endpoint(self, key: str = "endpoint") -> str:
        value = self.text(key)
        if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise self.wrong(key, "a URL, as in https://HOST", value)
        return value

    def address(self, key: str = "address", default: str = "ssh://{user}@{ip}:22/{id}") -> str:
        """The template of an Instance's address; `{id}`, `{ip}` and `{user}` are filled in."""
        value = self.text(key, default)
        try:
            value.format(id="i", ip="192.0.2.1", user="u")
        except (KeyError, IndexError, ValueError, AttributeError):
            raise self.wrong(key, "a template of {id}, {ip} and {user}", value) from None
        return value

    def wrong(self, key: str, wanted: str, value: object) -> UsageError:
        return UsageError(f"providers.{self._provider}.{key}: {wanted} is wanted, not {value!r}")


def on_loopback(endpoint: str) -> bool:
    """Whether the URL names this machine: then it is no cloud, and gets no real credentials."""
    host = urlsplit(endpoint).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
