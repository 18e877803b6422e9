"""moto's EC2, SSM and STS over real HTTP, behind a thin layer of ours.

Judged by moto (a third party): parameters, resources, ids, tags, filters, paging, dependencies. Ours, after AWS's
documentation: ClientToken and IdempotentParameterMismatch, errors of capacity and the like, Unsupported for a type that
a zone lacks, Start of what is terminated, vCPU quotas, delays and dropped answers. moto hands out public addresses of
54.214.0.0/16, which are AWS's: they become 127.214.0.0/16 before anybody sees them.
"""

import functools
import json
import os
import re
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

# Read by moto when it is imported: without them any type, image and key goes.
os.environ["MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION"] = "true"
os.environ["MOTO_ENABLE_AMI_VALIDATION"] = "true"
os.environ["MOTO_ENABLE_KEYPAIR_VALIDATION"] = "true"

import moto.core.responses
from cloud_contract import NEWLY_CODED, Fault, Kind, Operation
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.utils import utcnow
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from moto.ssm.models import Parameter
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder, run_wsgi_app

# moto goes through the 800 methods of its EC2 class at every request; they stay what they are.
moto.core.responses.method_names_from_class = functools.cache(moto.core.responses.method_names_from_class)

IMAGE = "ami-1e749f67"
"""An Ubuntu image that moto knows."""

GPU_IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"

HANG_S = 30.0
"""How long an answer is kept back: far beyond every limit under test, and ended by `clear`."""

_ACTIONS: dict[Operation, re.Pattern[str]] = {
    Operation.PREPARE: re.compile(
        "CreateSecurityGroup|AuthorizeSecurityGroupIngress|ImportKeyPair|CreateVpc|CreateSubnet|CreateInternetGateway"
        "|AttachInternetGateway|CreateRoute"
    ),
    Operation.LAUNCH: re.compile("RunInstances"),
    Operation.LIST: re.compile("DescribeInstances"),
    Operation.START: re.compile("StartInstances"),
    Operation.STOP: re.compile("StopInstances"),
    Operation.TERMINATE: re.compile("TerminateInstances"),
    Operation.REMOVE: re.compile("Delete.*|DetachInternetGateway"),
}

_ERRORS: dict[Kind, tuple[int, str]] = {
    Kind.CAPACITY: (500, "InsufficientInstanceCapacity"),
    Kind.QUOTA: (400, "VcpuLimitExceeded"),
    Kind.AUTH: (403, "UnauthorizedOperation"),
    Kind.THROTTLED: (503, "RequestLimitExceeded"),
    Kind.UNKNOWN_CODE: (400, NEWLY_CODED),
    Kind.REFUSED: (500, "InternalError"),
    Kind.EXPIRED: (400, "RequestExpired"),
}

Reply = tuple[int, str, bytes]
"""Status, content type, body."""


@dataclass
class _Rule:
    fault: Fault
    left: int


@dataclass
class AwsServer:
    """One account of EC2 on a loopback port, with its memory and levers at hand."""

    recorded: set[str] = field(default_factory=set)
    """Every `service:Action` that was asked for."""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """EC2's actions and parameters as they came over the wire."""
    vcpu_quota: dict[str, float] = field(default_factory=dict)
    """By quota code; of what is absent, moto says that there is no such quota."""
    _rules: list[_Rule] = field(default_factory=list)
    _tokens: dict[tuple[str, str], tuple[str, str, Reply]] = field(default_factory=dict)
    """By region and token: the request, the machine that it made, and the reply."""
    _launching: threading.Lock = field(default_factory=threading.Lock)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _hang: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._moto = {
            "ec2": create_backend_app("ec2"),
            "ssm": create_backend_app("ssm"),
            "sts": create_backend_app("sts"),
            "servicequotas": create_backend_app("service-quotas"),
        }
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.clear()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def inject(self, fault: Fault) -> None:
        with self._guard:
            self._rules.append(_Rule(fault, fault.times))

    def clear(self) -> None:
        with self._guard:
            self._rules.clear()
            self._hang.set()
            self._hang = threading.Event()

    def reset(self, regions: Iterable[str]) -> None:
        """Everything as in a new account, with AWS's image parameter in each region."""
        self.clear()
        self._tokens.clear()
        self.requests.clear()
        self.recorded.clear()
        self.vcpu_quota.clear()
        for region in regions:
            for service in ("ec2", "ssm"):
                backend(service, region).reset()
            put_parameter(region, GPU_IMAGE, IMAGE)

    def forget_terminated(self, regions: Iterable[str]) -> None:
        """As EC2 does after an hour; and the tokens that stood for them."""
        for region in regions:
            memory = backend("ec2", region)
            for key, reservation in list(memory.reservations.items()):
                if all(machine.state == "terminated" for machine in reservation.instances):
                    del memory.reservations[key]
            # moto keeps the tags of what is gone, and looks through all of them at every filter.
            there = {machine.id for machine in memory.all_instances()} | memory.volumes.keys() | memory.enis.keys()
            for key in [key for key in memory.tags if key.startswith(("i-", "vol-", "eni-")) and key not in there]:
                del memory.tags[key]
        self._tokens.clear()
        self.requests.clear()

    def _answer(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        service, region = _scope(environ)
        parameters = dict(parse_qsl(body.decode(), keep_blank_values=True)) if service in ("ec2", "sts") else {}
        action = parameters.get("Action") or environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        self.recorded.add(f"{service}:{action}")
        if service == "ec2":
            self.requests.append((action, parameters))
        fault = self._meets(action, parameters) if service == "ec2" else None
        status, kind, content = self._reply(environ, service, region, action, parameters, body, fault)
        if fault is not None and fault.kind is Kind.CUT:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError  # so that werkzeug writes nothing
        if fault is not None and fault.kind is Kind.SLOW:
            self._hang.wait(HANG_S)
        start(f"{status} -", [("Content-Type", kind), ("Content-Length", str(len(content)))])
        return [content]

    def _meets(self, action: str, parameters: dict[str, str]) -> Fault | None:
        zone = parameters.get("Placement.AvailabilityZone")
        with self._guard:
            for rule in self._rules:
                fault = rule.fault
                if rule.left and _ACTIONS[fault.operation].fullmatch(action) and fault.zone in (None, zone):
                    if fault.kind is Kind.PAGE and "NextToken" not in parameters:
                        return fault  # the first page is whole; the next one is the fault
                    rule.left -= 1
                    return fault
        return None

    def _reply(
        self,
        environ: dict[str, Any],
        service: str,
        region: str,
        action: str,
        parameters: dict[str, str],
        body: bytes,
        fault: Fault | None,
    ) -> Reply:
        if fault is not None and fault.kind in _ERRORS:
            return _error(*_ERRORS[fault.kind])
        if fault is not None and fault.kind is Kind.HIDDEN:
            return 200, "text/xml", _NO_INSTANCES
        if fault is not None and fault.kind is Kind.PAGE:
            if "NextToken" in parameters:
                return _error(500, "InternalError")
            body = urlencode({**parameters, "MaxResults": "1"}).encode()
        if service == "servicequotas" and action == "GetServiceQuota":
            code = json.loads(body)["QuotaCode"]
            if code in self.vcpu_quota:
                quota = {"Quota": {"QuotaCode": code, "Value": self.vcpu_quota[code]}}
                return 200, "application/x-amz-json-1.1", json.dumps(quota).encode()
        refused = _refused(region, action, parameters)
        if refused is not None:
            return refused
        if action == "RunInstances" and "ClientToken" in parameters and "DryRun" not in parameters:
            done = self._run_once(environ, region, parameters, body)
        else:
            done = self._ask_moto(environ, service, body)
        if fault is not None and fault.kind is Kind.BROKEN:
            return _error(500, "InternalError")
        return done

    def _run_once(self, environ: dict[str, Any], region: str, parameters: dict[str, str], body: bytes) -> Reply:
        key = (region, parameters["ClientToken"])
        wanted = repr(sorted(parameters.items()))
        with self._launching:
            if key in self._tokens:
                before, machine, reply = self._tokens[key]
                if before != wanted:
                    return _error(400, "IdempotentParameterMismatch")
                return reply[0], reply[1], _as_it_is_now(reply[2], region, machine)
            reply = self._ask_moto(environ, "ec2", body)
            if reply[0] == 200:
                machine = re.findall(rb"<instanceId>(.*?)</instanceId>", reply[2])[0].decode()
                self._tokens[key] = (wanted, machine, reply)
            return reply

    def _ask_moto(self, environ: dict[str, Any], service: str, body: bytes) -> Reply:
        builder = EnvironBuilder.from_environ(environ, input_stream=None)
        inner = builder.get_environ()
        inner |= {key: value for key, value in environ.items() if key.startswith("HTTP_")}
        inner |= {"wsgi.input": _Bytes(body), "CONTENT_LENGTH": str(len(body))}
        inner["CONTENT_TYPE"] = environ.get("CONTENT_TYPE", "")
        content, status, headers = run_wsgi_app(self._moto[service], inner, buffered=True)
        whole = b"".join(content).replace(b"54.214.", b"127.214.").replace(b"ec2-54-214-", b"ec2-127-214-")
        return int(status.split()[0]), headers.get("Content-Type", "text/xml"), whole


class _Quiet(MotoRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class _Bytes:
    """What WSGI wants of an input stream."""

    def __init__(self, content: bytes) -> None:
        self._left = content

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            size = len(self._left)
        read, self._left = self._left[:size], self._left[size:]
        return read

    def readline(self, size: int = -1) -> bytes:
        return self.read(size)

    def __iter__(self) -> Iterable[bytes]:
        yield self.read()


def backend(service: str, region: str) -> Any:
    """moto's memory: the truth."""
    return get_backend(service)[DEFAULT_ACCOUNT_ID][region]  # type: ignore[call-overload]


def put_parameter(region: str, name: str, value: str) -> None:
    """A public parameter, as AWS publishes it; moto's PutParameter keeps its path from users, as AWS's does."""
    backend("ssm", region)._parameters[name] = [
        Parameter(
            account_id=DEFAULT_ACCOUNT_ID,
            name=name,
            value=value,
            parameter_type="String",
            description=None,
            allowed_pattern=None,
            keyid=None,
            last_modified_date=utcnow(),
            version=1,
            data_type="text",
        )
    ]


def _scope(environ: dict[str, Any]) -> tuple[str, str]:
    """(service, region) that the request was signed for."""
    found = re.search(r"Credential=[^/]*/\d+/([^/]+)/([^/]+)/aws4_request", environ.get("HTTP_AUTHORIZATION", ""))
    return (found[2], found[1]) if found else ("", "")


def _refused(region: str, action: str, parameters: dict[str, str]) -> Reply | None:
    """Verdicts of EC2 that moto does not give."""
    if action == "RunInstances" and "Placement.AvailabilityZone" in parameters:
        wanted = (parameters["InstanceType"], parameters["Placement.AvailabilityZone"])
        if wanted not in _offered(region):
            return _error(400, "Unsupported")
    if action == "StartInstances" and "DryRun" not in parameters:
        machine = backend("ec2", region).get_instance(parameters["InstanceId.1"])
        if machine.state == "terminated":
            return _error(400, "IncorrectInstanceState")
    if action == "TerminateInstances" and "DryRun" not in parameters:
        machine = backend("ec2", region).get_instance(parameters["InstanceId.1"])
        if machine.state == "terminated":  # moto fails over its network interface, which is gone
            return 200, "text/xml", _TERMINATED
    return None


@functools.cache
def _offered(region: str) -> frozenset[tuple[str, str]]:
    """(type, zone) of everything that moto knows to be sold there."""
    offered = INSTANCE_TYPE_OFFERINGS["availability-zone"][region]
    return frozenset((one["InstanceType"], one["Location"]) for one in offered)


def _as_it_is_now(reply: bytes, region: str, machine: str) -> bytes:
    """A repeated launch tells the machine's state of now."""
    state = backend("ec2", region).get_instance(machine)._state
    now = f"<instanceState><code>{state.code}</code><name>{state.name}</name></instanceState>".encode()
    return re.sub(rb"<instanceState>.*?</instanceState>", now, reply, flags=re.DOTALL)


def _error(status: int, code: str) -> Reply:
    text = f"<Code>{escape(code)}</Code><Message>made by the test's own layer</Message>"
    return (
        status,
        "text/xml",
        f"<Response><Errors><Error>{text}</Error></Errors><RequestID>1</RequestID></Response>".encode(),
    )


_TERMINATED = (
    b'<TerminateInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
    b"<requestId>1</requestId><instancesSet/></TerminateInstancesResponse>"
)

_NO_INSTANCES = (
    b'<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
    b"<requestId>1</requestId><reservationSet/></DescribeInstancesResponse>"
)
