"""Every bound of the gateway, each with why this number. Times in seconds, sizes in bytes."""

from typing import Final

HEAD_LIMIT_BYTES: Final = 64 * 1024
"""A request's or answer's head; the largest that common servers take, far above what SDKs send."""
INTERIM_ANSWERS_MAX: Final = 16
"""Answers of a replica before the one that counts (`100 Continue`, `103 Early Hints`); engines send none."""
HEADERS_LIMIT: Final = 256
"""Header lines in one head; clients send about ten, proxies add about ten."""
HEAD_REMEMBERED_LIMIT_BYTES: Final = 2048
"""A head up to this is remembered, as a client sends the same one again and again; SDKs' have 500 bytes, and a client
that sends others each time costs three copies of one for its connection."""
HEADS_REMEMBERED_MAX: Final = 1024
"""Different heads kept for all connections together: one per client program and key, not per client."""
CREDENTIAL_LIMIT_BYTES: Final = 512
"""An API key; ours have about 50 bytes, and what is longer is not hashed to find out."""
BODY_LIMIT_BYTES: Final = 32 * 1024 * 1024
"""One request's body: several images in base64, or a million tokens of text. Finding `model` in it takes 10 ms."""
HELD_LIMIT_BYTES: Final = 512 * 1024 * 1024
"""All request bodies together: a queue held at zero replicas must not eat the machine."""
PIPELINED_LIMIT_BYTES: Final = 64 * 1024
"""Bytes of later requests kept while one is served; then the client's socket is no longer read."""
PIPELINED_TIMEOUT_S: Final = 10.0
"""A client that sends more than that while one request is served is not read, so nobody sees it leave: after this long
it is taken to have left, as no engine may work for nobody. Clients that wait for their answers never come to it."""
CHUNK_LINE_LIMIT_BYTES: Final = 1024
"""A chunk's size line with its extensions, which nobody uses; a trailer's line."""
CHUNK_EXTENSIONS_LIMIT_BYTES: Final = 16 * 1024
"""Extensions of all chunks of one body: else a kilobyte could be sent for each byte that the other bounds count."""
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

PROBE_TIMEOUT_S: Final = 5.0
"""A replica that failed must accept and, where it is asked, answer within this; its engine may be loading."""
PROBE_ANSWER_LIMIT_BYTES: Final = 64 * 1024
"""Read of a probe's answer, of which only the status line matters."""

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
PATIENCE_LONGEST_S: Final = 86_400.0
"""A client may say how long it waits for a slot, up to a day: what is longer is a mistake in units."""
ACCESS_LOG_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""Lines between two ticks, at 30,000 requests/s; what a stuck disk keeps us from writing beyond this is dropped."""
ACCESS_LOG_ROTATE_BYTES: Final = 256 * 1024 * 1024
"""At this size the access log is put aside: a million requests."""
ACCESS_LOGS_KEPT: Final = 4
"""Access logs put aside; older ones are deleted."""
DRAIN_TIMEOUT_S: Final = 60.0
"""Running requests get this long to end when the gateway is told to stop."""
DRAIN_LOOK_S: Final = 0.1
"""Between two looks at whether all has ended: it looks at every client, which takes ten thousand a few milliseconds."""
FAREWELL_S: Final = 0.5
"""When the gateway ends, a connection without a request stays open for so long: what its client sent just then gets an
answer, and not a reset. Many round trips, and no wait that anybody notices."""
SUCCESSION_S: Final = 5.0
"""Who connects while one worker of several drains waits so long for its successor, and is then told to try again."""
ACCEPTED_AT_ONCE: Final = 8
"""New connections taken in one turn of the event loop, where uvloop by itself takes one: a turn of a busy gateway lasts
30 ms, and a thousand streams would take that many turns to come in. More would be asked in vain for each single one."""
LISTEN_BACKLOG: Final = 4096
"""Connections the kernel accepts for us while we are busy; it lowers this to its own bound."""
OPEN_FILES_WANTED: Final = 4096
"""Below this the gateway warns: a held request takes one file, a running one two."""
OPEN_FILES_RESERVED: Final = 128
"""Files kept for logs, admin connections, the listening sockets, and those who are turned away."""
TURNED_AWAY_MAX: Final = 64
"""Clients beyond all that may be connected, told so at one time: each takes a file while it reads that. More are cut
without a word: they must not take the files for connections to replicas."""
