"""Messages of Amazon SQS queues."""

import threading
from typing import Any
from urllib.parse import urlsplit

from fleetctl.model.outside import SqsSource
from fleetctl.scrape.outside.numbers import number
from fleetctl.scrape.outside.threads import in_thread
from fleetctl.scrape.outside.tokens import extra
from fleetctl.scrape.outside.unread import Unread

VISIBLE, IN_FLIGHT = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class SqsQueues:
    """One client for each region and endpoint. boto3 blocks, so each reading has a thread, and no queue two."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._making = threading.Lock()
        self._busy: set[SqsSource] = set()

    async def messages(self, source: SqsSource, *, timeout_s: float) -> float:
        """How many there are. Raises `Unread`."""
        if source in self._busy:
            raise Unread("the last reading has not ended yet")
        self._busy.add(source)
        return await in_thread(lambda: self._messages(source, timeout_s), name="sqs")

    def close(self) -> None:
        """Give the connections back."""
        with self._making:
            clients = list(self._clients.values())
            self._clients.clear()
        for client in clients:
            client.close()

    def _messages(self, source: SqsSource, timeout_s: float) -> float:
        try:
            failures = extra("botocore.exceptions", "sqs", "aws")
            wanted = [VISIBLE, IN_FLIGHT] if source.in_flight else [VISIBLE]
            try:
                answer = self._client(source, timeout_s).get_queue_attributes(
                    QueueUrl=source.queue_url, AttributeNames=wanted
                )
            except failures.NoCredentialsError:
                raise Unread("Amazon has no credentials for us (try: aws configure)") from None
            except failures.ClientError as error:
                code = error.response.get("Error", {}).get("Code", "an error")
                raise Unread(f"SQS refuses: {code}") from None
            except failures.BotoCoreError as error:
                raise Unread(f"SQS does not answer: {type(error).__name__}") from None
            attributes = answer.get("Attributes", {})
            return sum(number(attributes.get(name), name) for name in wanted)
        finally:
            self._busy.discard(source)

    def _client(self, source: SqsSource, timeout_s: float) -> Any:
        key = (source.region, source.endpoint)
        with self._making:  # making one is not safe between threads, using one is
            if key not in self._clients:
                config = extra("botocore.config", "sqs", "aws").Config(
                    connect_timeout=timeout_s,
                    read_timeout=timeout_s,
                    retries={"mode": "standard", "total_max_attempts": 1},
                )
                options: dict[str, object] = {"region_name": source.region, "config": config}
                if source.endpoint is not None:
                    options["endpoint_url"] = source.endpoint
                    if urlsplit(source.endpoint).hostname in _LOOPBACK:
                        # Not Amazon: it is shown no real key.
                        options |= {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
                self._clients[key] = extra("boto3", "sqs", "aws").session.Session().client("sqs", **options)
            return self._clients[key]
