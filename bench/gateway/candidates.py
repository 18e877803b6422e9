"""What can be measured side by side: the direct way, HAProxy, nginx, two Python proxies, two routers in Rust."""

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.processes import Missing

UNIT = "haproxy"
"""The candidate that the others' figures are divided by."""
PEERS_ENV = "FLEETCTL_BENCH_PEERS"
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What every candidate is started with."""

    port: int
    """Where it is to listen, on loopback."""
    upstream: int
    """The port of its one upstream."""
    folder: Path
    """For its files."""
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How one is started. `after` is done once it listens; it is routed to its upstream then."""

    command: tuple[str | Path, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


class Candidate:
    """A way from the load generator to the upstream."""

    name = "direct"
    quick = True
    """Measured in a quick run too."""

    def launch(self, setting: Setting) -> Launch | None:
        """None: there is nothing between. Raises `Missing`."""
        return None

    def routed(self, setting: Setting) -> None:
        """Called once it listens, where it must be told its upstream."""


class HAProxy(Candidate):
    """One thread, nothing but forwarding; without `http-no-delay` event streams would come in bursts."""

    name = UNIT

    def launch(self, setting: Setting) -> Launch:
        path = setting.folder / "haproxy.cfg"
        path.write_text(f"""global
  nbthread 1
  maxconn 8000
defaults
  mode http
  option http-no-delay
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
frontend front
  bind 127.0.0.1:{setting.port} backlog 4096
  default_backend back
backend back
  server one 127.0.0.1:{setting.upstream}
""")
        return Launch(command=(program("haproxy"), "-db", "-f", path))


class Nginx(Candidate):
    """One process, no buffering, connections to the upstream kept."""

    name = "nginx"

    def launch(self, setting: Setting) -> Launch:
        path = setting.folder / "nginx.conf"
        temp = " ".join(
            f"{kind}_temp_path {setting.folder}/nginx-{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        path.write_text(f"""daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;
pid {setting.folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 10000; }}
http {{
  {temp}
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_body_buffer_size 64k;
  upstream back {{ server 127.0.0.1:{setting.upstream}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{setting.port} backlog=4096;
    location / {{
      proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
""")
        return Launch(command=(program("nginx"), "-p", setting.folder, "-c", path))


class AiohttpProxy(Candidate):
    """aiohttp on both sides, in our own Python; with uvloop, as is usual."""

    name = "aiohttp"
    quick = False

    def launch(self, setting: Setting) -> Launch:
        return Launch(command=(sys.executable, _HERE / "aiohttp_proxy.py", str(setting.port), str(setting.upstream)))


class FastapiProxy(Candidate):
    """FastAPI + httpx, the shape of SkyServe's load balancer."""

    name = "fastapi+httpx"
    quick = False

    def launch(self, setting: Setting) -> Launch:
        python = peer("python", "fastapi httpx uvicorn uvloop httptools")
        return Launch(command=(python, _HERE / "fastapi_proxy.py", str(setting.port), str(setting.upstream)))


class VllmRouter(Candidate):
    name = "vllm-router"
    quick = False

    def launch(self, setting: Setting) -> Launch:
        command = (
            *(peer("vllm-router", "vllm-router"), "--host", "127.0.0.1", "--port", str(setting.port)),
            *("--worker-urls", f"http://127.0.0.1:{setting.upstream}", "--policy", "cache_aware"),
            *("--max-concurrent-requests", "8192", "--queue-size", "8192", "--log-level", "error"),
            *("--prometheus-port", str(free_port())),
        )
        return Launch(command=command)


class Smg(Candidate):
    name = "smg"
    quick = False

    def launch(self, setting: Setting) -> Launch:
        command = (
            *(peer("smg", "smg"), "launch", "--host", "127.0.0.1", "--port", str(setting.port)),
            *("--worker-urls", f"http://127.0.0.1:{setting.upstream}", "--policy", "cache_aware"),
            *("--max-concurrent-requests", "8192", "--queue-size", "8192", "--log-level", "error"),
            *("--prometheus-port", str(free_port())),
        )
        return Launch(command=command)


def peers() -> tuple[Candidate, ...]:
    return (Candidate(), HAProxy(), Nginx(), AiohttpProxy(), FastapiProxy(), VllmRouter(), Smg())


def program(name: str) -> Path:
    """A server of the system. Raises `Missing`."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Missing(f"{name} is not installed: apt-get install {name}")
    return Path(found)


def peer(name: str, packages: str) -> Path:
    """A program of the peers' own virtual environment. Raises `Missing`."""
    folder = os.environ.get(PEERS_ENV)
    if not folder or not (Path(folder) / "bin" / name).exists():
        where = folder or "peers"
        raise Missing(
            f"python3 -m venv {where} && {where}/bin/pip install {packages}"
            f" && export {PEERS_ENV}={Path(where).absolute()}"
        )
    return (Path(folder) / "bin" / name).absolute()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
