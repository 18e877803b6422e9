"""boto3 behind two words: `read` and `change`. Each is one request in a thread, and its failure one of our errors."""

import functools
import importlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from fleetctl.errors import InvalidRequest, MissingDependency, ProviderError
from fleetctl.providers._shared.options import on_loopback
from fleetctl.providers._shared.threads import Calls
from fleetctl.providers.aws.refusals import no_answer, refusal
from fleetctl.providers.aws.settings import AWS, Limits, Settings

Answer = Mapping[str, Any]
"""What the SDK made of an answer: its shape is EC2's, and only this package sees it."""

_PAGES_MAX = 1000
"""Of one listing: a million machines. More than that is a server that gives the same page for ever."""

_PAGE_ITEMS = 1000
"""The most that EC2 gives in one page of the lists used here."""

_CONNECTIONS = 32
"""Kept open for one region: as many as requests may run at once."""


_MAKING = threading.Lock()
"""Held while a client is made: they are the process's own, as its credentials are."""


class Sdk:
    """One account's requests, in any region."""

    def __init__(self, settings: Settings, limits: Limits, boundary: Callable[[str], None]) -> None:
        self._settings = settings
        self._limits = limits
        self._boundary = boundary
        self._calls = Calls(AWS)

    async def read(self, region: str, action: str, **parameters: object) -> Answer:
        """EC2's answer to a request that changes nothing; the SDK tries it again where that may help."""
        return await self.read_of("ec2", region, action, **parameters)

    async def read_of(self, service: str, region: str, action: str, **parameters: object) -> Answer:
        """Another service's answer."""
        self._boundary(action)
        what = f"{action} in {region}"
        return await self._calls.read(
            what, lambda: self._ask(region, service, action, parameters, False), limit_s=self._limits.reading_s
        )

    async def change(self, region: str, action: str, **parameters: object) -> Answer:
        """The answer to a request that changes something; sent once. Raises `OutcomeUnknown` where none comes."""
        self._boundary(action)
        what = f"{action} in {region}"
        return await self._calls.change(
            what, lambda: self._ask(region, "ec2", action, parameters, True), limit_s=self._limits.changing_s
        )

    async def pages(self, region: str, action: str, key: str, **parameters: object) -> list[Any]:
        """What stands under the key on every page, in order. One page that fails is a list that fails."""
        found: list[Any] = []
        more: dict[str, object] = {}
        for _ in range(_PAGES_MAX):
            page: dict[str, object] = {**parameters, "MaxResults": _PAGE_ITEMS, **more}
            answer = await self.read(region, action, **page)
            found.extend(answer.get(key, ()))
            if not answer.get("NextToken"):
                return found
            more = {"NextToken": answer["NextToken"]}
        raise ProviderError(f"aws: {action} in {region}: more than {_PAGES_MAX} pages")

    async def allowed(self, region: str, action: str, **parameters: object) -> None:
        """Ask, without doing it, whether it might be done. Raises what doing it would raise for want of permission."""
        try:
            await self.read(region, action, **{**parameters, "DryRun": True})
        except InvalidRequest:
            return  # permissions are judged first: who is told that the request is wrong was allowed to send it
        except ProviderError as error:
            if error.provider_code != "DryRunOperation":
                raise

    def close(self) -> None:
        self._calls.close()

    def _ask(self, region: str, service: str, action: str, parameters: Mapping[str, object], changing: bool) -> Answer:
        what = f"{action} in {region}"
        exceptions = _module("botocore.exceptions")
        try:
            answer: Answer = getattr(self._client(region, service, changing), action)(**parameters)
        except exceptions.ClientError as error:
            told = error.response.get("Error", {})
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            raise refusal(what, told.get("Code", ""), told.get("Message", ""), status, changing=changing) from error
        except (exceptions.BotoCoreError, exceptions.HTTPClientError, OSError) as error:
            raise no_answer(what, error, changing=changing) from error
        return answer

    def _client(self, region: str, service: str, changing: bool) -> Any:
        limits = self._limits
        attempts = 1 if changing else limits.attempts
        with _MAKING:  # making one is not safe in two threads at once; using one is
            return _client(self._settings.endpoint, region, service, limits.connect_s, limits.read_s, attempts)


@functools.cache
def _session() -> Any:
    """The process's one session: it holds the credentials, and a model of EC2 that takes a second to read."""
    return _module("boto3").session.Session()


@functools.cache
def _client(endpoint: str, region: str, service: str, connect_s: float, read_s: float, attempts: int) -> Any:
    config = _module("botocore.config").Config(
        connect_timeout=connect_s,
        read_timeout=read_s,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=_CONNECTIONS,
    )
    options: dict[str, object] = {"region_name": region, "config": config}
    if endpoint:
        options["endpoint_url"] = endpoint
        if on_loopback(endpoint):
            # Not AWS: it is shown no real key.
            options |= {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    return _session().client(service, **options)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingDependency("aws: boto3 is not installed", hint="pip install 'fleetctl[aws]'") from None
