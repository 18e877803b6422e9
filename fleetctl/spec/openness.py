"""Who reaches an address, and what is to be said where everybody does. Light: commands that run look here, too."""

LOOPBACK = ("127.", "localhost:", "[::1]:")
"""How addresses begin that only this machine reaches."""
OPEN_METRICS_FIX = "write metrics_listen: 127.0.0.1:PORT, or let a firewall keep others out"


def open_metrics(listen: str | None) -> str:
    """What is to be said of figures that are served at `listen`; empty where only this machine reaches it."""
    if not listen or listen.startswith(LOOPBACK):
        return ""
    return (
        f"whoever reaches {listen} reads the figures of services, tenants and models: /metrics and /healthz have no"
        " authentication"
    )
