"""What stands behind the stand-in of SkyPilot's SDK: clusters, requests and machines in the test's memory, with levers.

Ours, after SkyPilot 0.14.1's documentation and behaviour: a request goes on whether or not anybody waits for it; one
cluster of a name, made under a lock, found again by a second launch; INIT while it is made; a launch can be cancelled;
`down` takes everything. The stand-in (each bridge a process of its own) asks for it over a socket (`sky_wire`).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sky_wire import ENDED, Body, Refused


class Memory:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: Body = {
            "clusters": {},
            "machines": [],
            "requests": {},
            "faults": [],
            "hold": "",
            "calls": [],
            "turns": 0,
        }

    @contextmanager
    def held(self) -> Iterator[Body]:
        """Everything, for one who changes it alone."""
        with self._lock:
            yield self._now

    def met(self, now: Body, operation: str, zone: str = "") -> Body | None:
        """The fault that strikes this call, once less often from now on."""
        for fault in now["faults"]:
            if fault["operation"] == operation and fault["times"] > 0 and fault["zone"] in (None, zone):
                fault["times"] -= 1
                return dict(fault)
        return None

    def submit(self, name: str, operation: str, cluster: str, body: Body) -> Body:
        """Take a request and do what can be done of it at once; its id, and whether who asks dies over it."""
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
            dies = kind == "cut" and now["turns"] % 2 == 1  # while it is asked for, or (else) while it is waited for
            if dies:
                request["after"] = ""
            return {"key": key, "dies": dies}

    def look(self, key: str) -> Body:
        """The request as it stands. What becomes of its answer is told once, with the end."""
        with self.held() as now:
            self.advance(now)
            request = now["requests"][key]
            told = dict(request)
            if request["status"] in ENDED:
                request["after"] = ""
            return told

    def under_way(self) -> dict[str, Body]:
        """The requests that have not ended, by id."""
        with self.held() as now:
            self.advance(now)
            return {key: dict(one) for key, one in now["requests"].items() if one["status"] not in ENDED}

    def listing(self, *, compared: bool) -> Body:
        """The clusters by name, and the fault that strikes this listing. `compared`: with what the clouds have."""
        with self.held() as now:
            self.advance(now)
            fault = self.met(now, "list")
            if compared:
                there = {one["cluster"] for one in now["machines"]}
                for name in [name for name in now["clusters"] if name not in there]:
                    del now["clusters"][name]
            return {"clusters": {name: dict(one) for name, one in now["clusters"].items()}, "fault": fault}

    def knows(self, cluster: str) -> bool:
        with self.held() as now:
            return cluster in now["clusters"]

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
