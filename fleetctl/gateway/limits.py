"""Every bound of the gateway, each with why this number. Times in seconds, sizes in bytes."""

from typing import Final

HEAD_LIMIT_BYTES: Final = 64 * 1024
"""A request's or answer's head; the largest that common servers take, far above what SDKs send."""
HEADERS_LIMIT: Final = 256
"""Header lines in one head; clients send about ten, proxies add about ten."""
BODY_LIMIT_BYTES: Final = 32 * 1024 * 1024
"""One request's body: several images in base64, or a million tokens of text. Finding `model` in it takes 10 ms."""
HELD_LIMIT_BYTES: Final = 512 * 1024 * 1024
"""All request bodies together: a queue held at zero replicas must not eat the machine."""
PIPELINED_LIMIT_BYTES: Final = 64 * 1024
"""Bytes of later requests kept while one is served; then the client's socket is no longer read."""
CHUNK_LINE_LIMIT_BYTES: Final = 1024
"""A chunk's size line with its extensions, which nobody uses."""
TRAILER_LIMIT_BYTES: Final = 16 * 1024
"""Trailers after a chunked body; engines send none."""

HEAD_TIMEOUT_S: Final = 30.0
"""A request's head must be complete by then, or a few slow clients hold every connection."""
IDLE_TIMEOUT_S: Final = 75.0
"""A kept-alive client connection without a request; longer than the 60 s of common load balancers in front."""
BODY_TIMEOUT_S: Final = 300.0
"""A request's body must be complete by then: the largest body at 100 kB/s."""
STALL_TIMEOUT_S: Final = 60.0
"""A client that reads nothing for this long holds an engine's slot for nobody."""
LINGER_TIMEOUT_S: Final = 2.0
"""After a refusal the rest of the request is discarded for this long, so that the client gets to read the refusal."""
CONNECT_TIMEOUT_S: Final = 2.0
"""A replica in reach accepts in milliseconds; one that does not in this time is not there."""
FIRST_BYTE_TIMEOUT_S: Final = 1800.0
"""The longest prefill behind the longest engine queue; only a bound, not a promise."""
STREAM_IDLE_TIMEOUT_S: Final = 600.0
"""Silence in the middle of an answer; engines send a token every few seconds at the very worst."""
POOL_IDLE_TIMEOUT_S: Final = 4.0
"""An unused upstream connection is closed before uvicorn's keep-alive of 5 s closes it under a request."""
POOL_LIMIT: Final = 512
"""Unused connections kept per replica; above the slots of any engine today."""

REST_FIRST_S: Final = 1.0
"""A replica that refused or dropped a request gets none for this long, or a dead one would attract the queue."""
REST_LONGEST_S: Final = 8.0
"""The rest doubles with each failure in a row up to this: a restarted engine is found again within seconds."""

TICK_S: Final = 0.25
"""Time-outs are looked at this often; they are late by at most this."""
SILENCE_SWEEP_S: Final = 15.0
"""Silent upstreams are looked for this often: one attribute per connection, no clock per chunk."""
RETRY_AFTER_LONGEST_S: Final = 60
"""`Retry-After` says how long the oldest request has waited, at most this."""
DRAIN_TIMEOUT_S: Final = 60.0
"""Running requests get this long to end when the gateway is told to stop."""
LISTEN_BACKLOG: Final = 4096
"""Connections the kernel accepts for us while we are busy; it lowers this to its own bound."""
OPEN_FILES_WANTED: Final = 4096
"""Below this the gateway warns: a held request takes one file, a running one two."""
OPEN_FILES_RESERVED: Final = 128
"""Files kept for logs, admin connections and the listening sockets."""
