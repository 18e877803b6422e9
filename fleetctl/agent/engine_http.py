"""What the agent asks of an engine over HTTP: is it ready, sleep, wake up."""

from fleetctl.errors import AgentFailure
from fleetctl.model.nodes import Call

_PROBE_TIMEOUT_S = 2.0
"""An engine that takes longer to say that it is ready is not ready."""

_CONTROL_TIMEOUT_S = 120.0
"""For going to sleep or waking up: moving 140 GB of weights over PCIe takes some 10 s, a reload from disk a minute."""

_ANSWER_BYTES = 64 * 1024
"""Read of an answer that is looked into; a state is told in a hundred."""


class EngineHttp:
    """One connection per call: probes are few, and a kept connection would hold up an engine's own shutdown."""

    def __init__(self) -> None:
        import aiohttp

        self._session: aiohttp.ClientSession = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))

    async def ready(self, address: str, path: str) -> bool:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=_PROBE_TIMEOUT_S)
        try:
            async with self._session.get(f"http://{address}{path}", timeout=timeout) as answer:
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, OSError):
            return False

    async def answers(self, address: str, call: Call) -> bool:
        """Whether it answers what is expected of it."""
        try:
            await self.ask(address, call, timeout_s=_PROBE_TIMEOUT_S)
        except AgentFailure:
            return False
        return True

    async def ask(self, address: str, call: Call, *, timeout_s: float | None = _CONTROL_TIMEOUT_S) -> None:
        """Make one call. Raises `AgentFailure` when the engine does not do it."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.request(
                call.method,
                f"http://{address}{call.path}",
                data=call.body or None,
                headers={"Content-Type": "application/json"} if call.body else None,
                timeout=timeout,
            ) as answer:
                if 200 <= answer.status < 300:
                    said = (await answer.content.read(_ANSWER_BYTES)).decode(errors="replace") if call.expect else ""
                    if call.expect not in "".join(said.split()):
                        raise AgentFailure(
                            f"the engine answered {said[:200]} to {call.method} {call.path} instead of {call.expect}"
                        )
                    return
                said = (await answer.content.read(200)).decode(errors="replace").strip()
                raise AgentFailure(f"the engine answered {answer.status} to {call.method} {call.path}: {said}")
        except (aiohttp.ClientError, OSError) as error:
            raise AgentFailure(f"the engine did not answer {call.method} {call.path}: {error!r}") from error

    async def close(self) -> None:
        await self._session.close()
