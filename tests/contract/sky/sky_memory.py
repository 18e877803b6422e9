"""What stands behind the stand-in of SkyPilot's SDK: clusters, requests and machines in one file, with levers.

Ours, after SkyPilot 0.14.1's documentation and behaviour: a request goes on whether or not anybody waits for it; one
cluster of a name, made under a lock, found again by a second launch; INIT while it is made; a launch can be cancelled;
`down` takes everything. The stand-in (each bridge a process of its own) and the tests read and write the same file.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Body = dict[str, Any]

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")

WAIT_S = 30.0
"""For a request that is held back; no test holds one longer."""

REGIONS = {"lambda": ("us-east-1", "us-west-2"), "runpod": ("CA", "US"), "aws": ("us-east-1",)}


class Refused(Exception):
    """Becomes an exception of `sky.exceptions`, by name."""

    def __init__(self, kind: str, message: str, attempts: tuple[str, ...] = (), code: str = "") -> None:
        super().__init__(message)
        self.body: Body = {"type": kind, "message": message, "attempts": list(attempts), "code": code}


class Memory:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "memory.json"

    @contextmanager
    def held(self) -> Iterator[Body]:
        """Everything, for one who changes it alone; saved at the end, also when it ends by an exception."""
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                now = json.loads(self._file.read_bytes())
            except FileNotFoundError:
                now = {
                    "clusters": {},
                    "machines": [],
                    "requests": {},
                    "faults": [],
                    "hold": "",
                    "calls": [],
                    "turns": 0,
                }
            try:
                yield now
            finally:
                draft = self._file.with_suffix(".tmp")
                draft.write_text(json.dumps(now))
                draft.replace(self._file)

    def met(self, now: Body, operation: str, zone: str = "") -> Body | None:
        """The fault that strikes this call, once less often from now on."""
        for fault in now["faults"]:
            if fault["operation"] == operation and fault["times"] > 0 and fault["zone"] in (None, zone):
                fault["times"] -= 1
                return dict(fault)
        return None

    def submit(self, name: str, operation: str, cluster: str, body: Body) -> str:
        """Take a request and do what can be done of it at once; its id."""
        with self.held() as now:
            now["calls"].append(name)
            fault = self.met(now, operation, body.get("infra", ""))
            kind = "" if fault is None else fault["kind"]
            if kind == "refuse":
                raise Refused("ApiServerConnectionError", "Could not connect to SkyPilot API server")
            key = f"request-{len(now['requests']) + 1}"
            request = {"name": f"sky.{name}", "cluster": cluster, "body": body, "status": "PENDING", "error": None}
            now["requests"][key] = request
            if kind == "refusal":
                assert fault is not None
                self._refuse(now, request, fault)
            else:
                request["after"] = kind  # what becomes of the answer: broken, cut, slow
                self._go_on(now, request)
            now["turns"] += 1
            if kind == "cut" and now["turns"] % 2:
                die = True  # while it is asked for, or (else) while it is waited for
                request["after"] = ""
            else:
                die = False
        if die:
            os._exit(9)
        return key

    def wait(self, key: str, *, slow_s: float) -> Body:
        """The request's end. Raises `Refused`."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            with self.held() as now:
                self.advance(now)
                request = now["requests"][key]
                if request["status"] in ENDED:
                    after, request["after"] = request.get("after", ""), ""
                    break
            time.sleep(0.01)
        else:
            raise AssertionError(f"{key} is held back for more than {WAIT_S} s")
        if after == "cut":
            os._exit(9)
        if after == "slow":
            time.sleep(slow_s)
        if after == "broken":
            raise Refused("ServerTemporarilyUnavailableError", "The server is temporarily unavailable")
        if request["status"] == "CANCELLED":
            raise Refused("RequestCancelled", f"request {key} is cancelled by another process")
        if request["error"] is not None:
            error = request["error"]
            raise Refused(error["type"], error["message"], tuple(error["attempts"]), error["code"])
        return dict(request)

    def advance(self, now: Body) -> None:
        """What is no longer held back goes on, as it does in an API server."""
        for request in now["requests"].values():
            if request["status"] not in ENDED:
                self._go_on(now, request)

    def cancel(self, keys: list[str]) -> None:
        with self.held() as now:
            now["calls"].append("cancel")
            for key in keys:
                if now["requests"][key]["status"] not in ENDED:
                    now["requests"][key]["status"] = "CANCELLED"

    def _go_on(self, now: Body, request: Body) -> None:
        name, cluster = request["name"], request["cluster"]
        try:
            if name == "sky.launch":
                if now["hold"] == "pending":
                    return
                self._begin(now, request)
                if now["hold"] == "running":
                    request["status"] = "RUNNING"
                    return
                if now["clusters"].get(cluster) is None:
                    raise Refused("ClusterDoesNotExist", f"Cluster {cluster!r} was torn down meanwhile")
                self._run(now, cluster)
            elif cluster not in now["clusters"]:
                raise Refused("ClusterDoesNotExist", f"Cluster {cluster!r} does not exist.")
            elif name == "sky.down":
                del now["clusters"][cluster]
                now["machines"] = [one for one in now["machines"] if one["cluster"] != cluster]
            elif name == "sky.stop":
                now["clusters"][cluster]["status"] = "STOPPED"
            elif name == "sky.start":
                self._run(now, cluster)
            request["status"] = "SUCCEEDED"
        except Refused as error:
            request["status"], request["error"] = "FAILED", error.body

    def _begin(self, now: Body, request: Body) -> None:
        """One cluster of a name: a second launch of it finds it."""
        body, cluster = request["body"], request["cluster"]
        if request["status"] == "RUNNING":
            return
        if cluster not in now["clusters"]:
            now["clusters"][cluster] = {"status": "INIT", "labels": body["labels"], "resources": body}
        if not any(one["cluster"] == cluster for one in now["machines"]):
            disk = f"disk-{cluster}-{len(now['machines'])}"
            now["machines"].append({"cluster": cluster, "labels": body["labels"], "disk": disk})

    def _run(self, now: Body, cluster: str) -> None:
        if not any(one["cluster"] == cluster for one in now["machines"]):
            # SkyPilot does so: who starts what is gone gets a new one.
            now["machines"].append({"cluster": cluster, "labels": now["clusters"][cluster]["labels"], "disk": "new"})
        now["clusters"][cluster] |= {"status": "UP", "ip": "127.0.0.9", "port": 2222, "user": "ubuntu"}

    def _refuse(self, now: Body, request: Body, fault: Body) -> None:
        request["status"], request["error"] = "FAILED", fault["error"]
        now["turns"] += 1
        if request["name"] == "sky.launch" and fault["half"] and now["turns"] % 2:
            # By turns SkyPilot has taken down what it began, or has not managed to.
            self._begin(now, request | {"status": "PENDING"})
