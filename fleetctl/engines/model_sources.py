"""What `model:` may say: where a Service's weights come from, taken apart, and what is wrong with a malformed one."""

import re

from fleetctl.model.records import dataclass

FETCHED = ("hf", "s3", "gs", "az", "https", "http")
"""Schemes whose files a Node fetches."""
IN_PLACE = "file"
"""What is on the Node already."""

FORMS = {
    "hf": "hf://organisation/name@revision",
    "s3": "s3://bucket/folder",
    "gs": "gs://bucket/folder",
    "az": "az://container/folder",
    "https": "https://host/model.gguf, or https://host/folder/manifest.json",
    "file": "file:///folder/on/the/node",
}
"""How each is written."""
ELSEWHERE = {
    "huggingface": "hf",
    "hub": "hf",
    "s3a": "s3",
    "s3n": "s3",
    "minio": "s3",
    "gcs": "gs",
    "azure": "az",
    "abfs": "az",
    "abfss": "az",
    "wasbs": "az",
}
"""What other tools call them."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ONE_SLASH = re.compile(r"(hf|s3|gs|az|https?|file):(?!//)/?")
_HUB_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([^/?#]+/[^/?#]+)(?:/tree/([^/?#]+))?/?")
_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,95})")
"""The hub's own rule for organisations and names, in short (huggingface_hub `utils/_validators.py`)."""
_HUB_TAG = re.compile(r"[A-Za-z0-9_.-]+")
_REVISION = re.compile(r"[^\s@:?*\[\\^~]+")
"""Git's rule for the names of references, in short."""
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_BUCKET = {
    "s3": re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
    "az": re.compile(r"[a-z0-9$](?:[a-z0-9]|-(?!-)){1,61}[a-z0-9]"),
}
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?")
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where a model comes from, taken apart."""

    name: str
    """What engines call it: `org/name` on the hub, the path on a Node, else the address as written."""
    scheme: str = ""
    """Empty: an engine's own name for it, or a path on the Node."""
    revision: str | None = None
    path: str = ""
    """A file or folder within what the hub calls the repository; empty: all of it."""
    tag: str = ""
    """Which of several GGUF files, as llama.cpp names them: `Q4_K_M` in `hf://org/name:Q4_K_M`."""

    @property
    def hub(self) -> bool:
        return self.scheme == "hf"

    @property
    def fetched(self) -> bool:
        """Whether a Node can fetch its files."""
        return self.scheme in FETCHED

    @property
    def pinned(self) -> bool:
        """Whether it is the same bytes tomorrow, as far as its address tells."""
        return not self.hub or (self.revision is not None and _COMMIT.fullmatch(self.revision) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """What is wrong with a `model:`, and what to write instead."""

    message: str
    fix: str
    scheme: str = ""
    """The scheme that is not one of ours; empty: something else is wrong."""


def model_source(model: str) -> ModelSource:
    """A `model:` taken apart; what has no scheme of ours is a name as it stands."""
    found = _SCHEME.match(model)
    scheme = found[1] if found else ""
    if scheme == "hf":
        where, _, revision = model.removeprefix("hf://").partition("@")
        organisation, _, rest = where.partition("/")
        name, _, path = rest.partition("/")
        name, _, tag = name.partition(":")
        whole = f"{organisation}/{name}" if name else organisation
        return ModelSource(name=whole, scheme=scheme, revision=revision or None, path=path.strip("/"), tag=tag)
    if scheme == IN_PLACE:
        return ModelSource(name="/" + model.removeprefix("file://").lstrip("/"), scheme=scheme)
    return ModelSource(name=model, scheme=scheme if scheme in FETCHED else "")


def pinned_at(model: str, commit: str) -> str:
    """The same `hf://` address, pinned at that commit."""
    return f"{model.partition('@')[0]}@{commit}"


def malformed(model: str) -> Malformed | None:
    """What is wrong with it; None: nothing, as far as its letters tell."""
    if page := _HUB_PAGE.fullmatch(model):
        pin = f"@{page[2]}" if page[2] else ""
        return Malformed(message=f"{model} is a page of the hub, not a file", fix=f"write hf://{page[1]}{pin}")
    found = _SCHEME.match(model)
    if found is None:
        slip = _ONE_SLASH.match(model)
        if slip is not None:
            return Malformed(message=f"{model} is half an address", fix=f"write {slip[1]}://{model[slip.end() :]}")
        return None
    scheme, rest = found[1], model[found.end() :]
    if scheme not in (*FORMS, "http"):
        return Malformed(
            message=f"no model comes from {scheme}://", fix=f"write one of: {', '.join(FORMS.values())}", scheme=scheme
        )
    if any(sign.isspace() for sign in model):
        return Malformed(message=f"{model!r} has a blank in it", fix="remove it")
    match scheme:
        case "hf":
            return _hub_fault(model)
        case "s3" | "gs" | "az":
            return _bucket_fault(scheme, rest)
        case "file":
            return _file_fault(rest)
    return _web_fault(scheme, rest)


def _hub_fault(model: str) -> Malformed | None:
    source = model_source(model)
    fix = f"write {FORMS['hf']}"
    if not all(_HUB_NAME.fullmatch(part) for part in source.name.split("/")):
        return Malformed(message=f"{source.name or model!r} is no name of a model on the hub", fix=fix)
    if ".." in source.path.split("/") or "//" in source.path:
        return Malformed(message=f"{source.path!r} is no path within {source.name}", fix="write a plain path, or none")
    if source.tag and not _HUB_TAG.fullmatch(source.tag):
        return Malformed(message=f"{source.tag!r} is no name of a quantisation", fix="write such as :Q4_K_M, or none")
    if "@" in model and source.revision is None:
        return Malformed(message="nothing stands after @", fix=f"write the revision after it, or {model.rstrip('@')}")
    if source.revision is not None and not _REVISION.fullmatch(source.revision):
        return Malformed(message=f"{source.revision!r} is no revision", fix="write a commit, a branch or a tag after @")
    return None


def _bucket_fault(scheme: str, rest: str) -> Malformed | None:
    bucket, _, prefix = rest.partition("/")
    what = "container" if scheme == "az" else "bucket"
    if not _BUCKET[scheme].fullmatch(bucket):
        return Malformed(message=f"{bucket!r} is no name of a {what}", fix=f"write {FORMS[scheme]}")
    if any(part in ("", ".", "..") for part in prefix.rstrip("/").split("/")) and prefix.rstrip("/"):
        return Malformed(message=f"{prefix!r} is no folder of a {what}", fix=f"write {FORMS[scheme]}")
    if "?" in prefix or "#" in prefix:
        return Malformed(
            message=f"{prefix!r} has a query",
            fix="leave it out; region, endpoint and account come from the environment",
        )
    return None


def _file_fault(rest: str) -> Malformed | None:
    if not rest.startswith("/"):
        path = rest.lstrip("/")
        return Malformed(message="file:// names a path on the node from its root", fix=f"write file:///{path}")
    return Malformed(message="file:/// names no path", fix=f"write {FORMS['file']}") if not rest.strip("/") else None


def _web_fault(scheme: str, rest: str) -> Malformed | None:
    host, _, path = rest.partition("/")
    if "@" in host:
        return Malformed(
            message="the address has a password in it, which would be in every log",
            fix="write the address alone, or use a signed one from a bucket: s3://, gs://, az://",
        )
    if not _HOST.fullmatch(host):
        return Malformed(message=f"{host!r} is no host", fix=f"write {FORMS['https']}")
    if scheme == "http" and not _LOOPBACK.fullmatch(host):
        return Malformed(message="http:// protects nothing on its way", fix=f"write https://{rest}")
    if not path.partition("?")[0] or path.partition("?")[0].endswith("/"):
        return Malformed(message="the address names no file", fix=f"write {FORMS['https']}")
    return None
