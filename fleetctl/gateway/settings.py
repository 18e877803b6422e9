"""What a gateway is started with; routes and identity may also come later, from a controller."""

from dataclasses import dataclass
from pathlib import Path

from fleetctl.model.routes import Identity, Routes


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    listen: str = "127.0.0.1:8080"
    """The public `host:port`; port 0: any free one."""
    admin_socket: Path | None = None
    """Unix socket of the controller; None: nobody steers this gateway but its own files."""
    metrics_listen: str = ""
    """`host:port` for `/metrics` and `/healthz` alone, where they are scraped over TCP; empty: only the socket."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    workers: int = 1
    """Processes that carry bytes; above 1 one more process schedules for all of them."""
    access_log: Path | None = None
    access_log_sample: float = 1.0
    """Share of the answered requests that are logged; refusals and failures always are."""
    connections_max: int | None = None
    """Clients at once; None: as many as there are files for."""
    identity: Identity | None = None
    """Who may enter; None: nobody, until a controller says who."""
    routes: Routes | None = None
