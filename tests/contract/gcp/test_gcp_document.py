"""The judge itself: that the server refuses what Google's discovery document does not allow. Judge: the document."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from gcp_discovery import Judge, Refused
from gcp_server import DOCUMENTS

PROJECT = "/compute/v1/projects/test-project"
INSTANCES = f"{PROJECT}/zones/us-central1-a/instances"
GOOD: Mapping[str, Any] = {
    "name": "gpu-1",
    "disks": [{"boot": True, "initializeParams": {"diskSizeGb": "200"}}],
    "scheduling": {"provisioningModel": "SPOT"},
    "metadata": {"items": [{"key": "user-data", "value": "#cloud-config"}]},
    "labels": {"fleetctl-id": "gpu-e1-1"},
}


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(*DOCUMENTS)


def test_allowed_request_is_the_method_of_the_document(judge: Judge) -> None:
    call = judge.call("POST", INSTANCES, {"requestId": ["11111111-2222-5333-8444-555555555555"]}, dump(GOOD))

    assert call.id == "compute.instances.insert"
    assert call.given["zone"] == "us-central1-a"
    assert call.body == GOOD


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "Gpu_1"}, "does not match"),
        ({"scheduling": {"provisioningModel": "CHEAP"}}, "is none of"),
        ({"scheduling": {"spot": True}}, "no such field"),
        ({"disks": [{"initializeParams": {"diskSizeGb": 200}}]}, "a text is wanted"),
        ({"disks": [{"initializeParams": {"diskSizeGb": "big"}}]}, "no int64"),
        ({"disks": [{"boot": "true"}]}, "a boolean is wanted"),
        ({"disks": {}}, "an array is wanted"),
        ({"labels": {"a": 1}}, "a text is wanted"),
        ({"metadata": {"items": [{"value": "x"}]}}, "key: it is required"),
        ({"metadata": {"items": [{"key": "a b", "value": "x"}]}}, "does not match"),
        ({"status": "RUNNING"}, "only replies have it"),
        ({"guestAccelerators": [{"acceleratorCount": "1"}]}, "a number is wanted"),
        ({"labelFingerprint": "!"}, "no base64"),
    ],
)
def test_wrong_body_is_refused(judge: Judge, change: Mapping[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        judge.call("POST", INSTANCES, {}, dump({**GOOD, **change}))


def test_body_without_a_required_field_is_refused(judge: Judge) -> None:
    with pytest.raises(Refused, match="name: it is required"):
        judge.call("POST", INSTANCES, {}, b"{}")


@pytest.mark.parametrize(
    ("verb", "path", "query", "why"),
    [
        ("POST", f"{INSTANCES}/gpu-1/halt", {}, "no such method"),
        ("PUT", INSTANCES, {}, "no such method"),
        ("GET", f"{PROJECT}/zones/US/instances", {}, "no such method"),
        ("GET", INSTANCES, {"page": ["2"]}, "no parameter page"),
        ("GET", INSTANCES, {"maxResults": ["many"]}, "whole number"),
        ("GET", INSTANCES, {"maxResults": ["-1"]}, "out of bounds"),
        ("GET", INSTANCES, {"filter": ["a", "b"]}, "given twice"),
        ("GET", INSTANCES, {"zone": ["us-central1-b"]}, "no parameter zone"),
        ("POST", f"{INSTANCES}/gpu-1/stop", {"discardLocalSsd": ["yes"]}, "a boolean is wanted"),
        ("GET", f"{INSTANCES}/gpu-1/serialPort", {"port": ["5"]}, "out of bounds"),
    ],
)
def test_wrong_path_or_parameter_is_refused(
    judge: Judge, verb: str, path: str, query: Mapping[str, list[str]], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        judge.call(verb, path, query, b"")


def test_body_where_none_is_taken_is_refused(judge: Judge) -> None:
    with pytest.raises(Refused, match="takes no body"):
        judge.call("POST", f"{INSTANCES}/gpu-1/start", {}, b'{"now": true}')


def test_reply_is_held_to_the_document_too(judge: Judge) -> None:
    call = judge.call("GET", f"{INSTANCES}/gpu-1", {}, b"")

    judge.reply(call, {"name": "gpu-1", "status": "RUNNING", "id": "7"})
    for wrong in ({"status": "ON"}, {"id": 7}, {"state": "RUNNING"}, {"labels": []}):
        with pytest.raises(Refused):
            judge.reply(call, wrong)


def test_resource_manager_has_a_document_of_its_own(judge: Judge) -> None:
    call = judge.call("POST", "/v3/projects/test-project:testIamPermissions", {}, dump({"permissions": ["a.b.c"]}))

    assert call.id == "cloudresourcemanager.projects.testIamPermissions"
    assert call.given["resource"] == "projects/test-project"


def dump(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()
