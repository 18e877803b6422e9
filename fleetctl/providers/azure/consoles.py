"""What a machine wrote to its serial console: Azure keeps the text in a blob and lends a link to it."""

from urllib.parse import urlsplit

from fleetctl.errors import Gone, InvalidRequest, ProviderError
from fleetctl.providers._shared.options import on_loopback
from fleetctl.providers.azure.connections import Connection
from fleetctl.providers.azure.errors import translate

_TAIL_BYTES = 65_536
"""The end of the text, where a boot that failed says why; a whole boot writes about this much."""

_LOG_MAX_BYTES = 16 * 1024 * 1024
"""Azure itself keeps no more of it than some MB; a longer answer is not read to its end."""


async def read_console(connection: Connection, group: str, name: str) -> str:
    """The last of it; empty where there is nothing yet."""
    from aiohttp import ClientError
    from azure.core.exceptions import HttpResponseError

    what = f"read the console of {name}"
    async with connection.reading(what) as clients:
        try:
            found = await clients.compute.virtual_machines.retrieve_boot_diagnostics_data(group, name)
        except HttpResponseError as error:
            # Not there, or not yet: a machine that is being made, or whose diagnostics were switched off by hand.
            if error.status_code == 409 or isinstance(translate(what, error, changes=False), (Gone, InvalidRequest)):
                return ""
            raise
        link = found.serial_console_log_blob_uri
        if not link:
            return ""
        parts = urlsplit(link)
        local = connection.settings.on_loopback and on_loopback(link)
        if parts.scheme != "https" and not local:
            raise ProviderError(f"azure: {what}: its link is not https")
        # The link carries its own right to read, so no credential of ours goes with it.
        try:
            async with clients.session.get(link, headers={"Accept-Encoding": "identity"}) as answer:
                if answer.status == 404:
                    return ""
                answer.raise_for_status()
                text = b""
                total = 0
                async for piece in answer.content.iter_chunked(_TAIL_BYTES):
                    text = (text + piece)[-_TAIL_BYTES:]
                    total += len(piece)
                    if total > _LOG_MAX_BYTES:
                        break
        except ClientError as error:
            raise ProviderError(f"azure: {what}: {type(error).__name__}", hint="try again") from error
        return text.decode("utf-8", "replace")
