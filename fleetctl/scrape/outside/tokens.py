"""Access tokens as Azure's and Google's own tools find them; both keep a token until it expires."""

import importlib
from typing import Any

from fleetctl.scrape.outside.threads import in_thread
from fleetctl.scrape.outside.unread import Unread

AZURE_SCOPE = "https://storage.azure.com/.default"
GOOGLE_SCOPE = "https://www.googleapis.com/auth/monitoring.read"


class Tokens:
    """Credentials are looked for at the first use."""

    def __init__(self) -> None:
        self._azure: Any = None
        self._google: Any = None

    async def azure(self) -> str:
        """For Azure's storage. Raises `Unread`."""
        return await in_thread(self._azure_token, name="azure-token")

    async def google(self) -> str:
        """For Cloud Monitoring. Raises `Unread`."""
        return await in_thread(self._google_token, name="google-token")

    def _azure_token(self) -> str:
        identity = extra("azure.identity", "azure_queue", "azure")
        core = extra("azure.core.exceptions", "azure_queue", "azure")
        if self._azure is None:
            self._azure = identity.DefaultAzureCredential()
        try:
            return str(self._azure.get_token(AZURE_SCOPE).token)
        except core.AzureError:
            raise Unread("Azure has no credentials for us (try: az login, or token: {env: NAME})") from None

    def _google_token(self) -> str:
        auth = extra("google.auth", "pubsub", "gcp")
        failures = extra("google.auth.exceptions", "pubsub", "gcp")
        transport = extra("google.auth.transport.requests", "pubsub", "gcp")
        try:
            if self._google is None:
                self._google, _ = auth.default(scopes=[GOOGLE_SCOPE])
            if not self._google.valid:
                self._google.refresh(transport.Request())
        except failures.GoogleAuthError:
            raise Unread(
                "Google has no credentials for us (try: gcloud auth application-default login, or token: {env: NAME})"
            ) from None
        return str(self._google.token)


def extra(module: str, source: str, name: str) -> Any:
    """The module of an extra. Raises `Unread` with what to install."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Unread(f"{source} needs an extra that is not installed: pip install 'fleetctl[{name}]'") from None
