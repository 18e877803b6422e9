"""What `model:` may say, what of a model is fetched, and what its engine is given of it."""

import pytest

from fleetctl.agent.origins.skipped import kept
from fleetctl.engines import engine, model_source, weights
from fleetctl.engines.model_sources import Malformed, malformed, pinned_at
from fleetctl.engines.weight_files import weight_file
from fleetctl.errors import AgentFailure
from fleetctl.model.names import ServiceName
from fleetctl.model.services import Gpu, Service

COMMIT = "5206a32e0bd3067aef1ce90f5528ade7d866253f"

RIGHT = [
    "hf://meta-llama/Llama-3.1-8B-Instruct@5206a32",
    "hf://meta-llama/Llama-3.1-8B-Instruct",
    "hf://gpt2",
    "hf://ggml-org/gemma-3-4b-GGUF:Q4_K_M@main",
    "hf://ggml-org/gemma-3-4b-GGUF/gemma-Q4_K_M.gguf@refs/pr/1",
    "s3://my.bucket-1/folder/model",
    "s3://bucket",
    "gs://my_bucket/folder/",
    "az://models/llama",
    "https://weights.example.com:8443/a/model.gguf",
    "https://weights.example.com/a/manifest.json?sig=x",
    "http://127.0.0.1:8080/model.gguf",
    "file:///models/llama",
    "/models/llama",
    "./llama",
    "meta-llama/Llama-3.1-8B-Instruct",
    "llama3:8b",
]

WRONG = [
    ("hff://org/name", "no model comes from hff://", "write one of: hf://"),
    ("ollama://llama3", "no model comes from ollama://", "write one of: hf://"),
    ("hf:/org/name", "half an address", "write hf://org/name"),
    ("hf:org/name", "half an address", "write hf://org/name"),
    ("s3:/bucket/x", "half an address", "write s3://bucket/x"),
    ("hf://", "no name of a model", "write hf://organisation/name@revision"),
    ("hf:///name", "no name of a model", "write hf://organisation/name@revision"),
    ("hf://or g/name", "has a blank", "remove it"),
    ("hf://org/na$me", "no name of a model", "write hf://organisation/name@revision"),
    ("hf://org/name@", "nothing stands after @", "or hf://org/name"),
    ("hf://org/name@a@b", "'a@b' is no revision", "write a commit"),
    ("hf://org/name/../x", "no path within org/name", "write a plain path"),
    ("hf://org/name:Q4*", "no name of a quantisation", "Q4_K_M"),
    ("https://huggingface.co/org/name", "is a page of the hub", "write hf://org/name"),
    ("https://huggingface.co/org/name/tree/abc", "is a page of the hub", "write hf://org/name@abc"),
    ("s3://Bucket/x", "'Bucket' is no name of a bucket", "write s3://bucket/folder"),
    ("s3:///x", "'' is no name of a bucket", "write s3://bucket/folder"),
    ("gs://bucket/../x", "is no folder of a bucket", "write gs://bucket/folder"),
    ("s3://bucket//x", "is no folder of a bucket", "write s3://bucket/folder"),
    ("s3://bucket/x?region=eu", "has a query", "from the environment"),
    ("az://a--b/x", "'a--b' is no name of a container", "write az://container/folder"),
    ("file://models/x", "from its root", "write file:///models/x"),
    ("file:///", "names no path", "write file:///folder"),
    ("https://host", "names no file", "write https://host/"),
    ("https://host/folder/", "names no file", "manifest.json"),
    ("https://user:pass@host/x", "has a password in it", "signed one"),
    ("http://host/x.gguf", "protects nothing", "write https://host/x.gguf"),
    ("http://127.0.0.1.evil.example/x", "protects nothing", "write https://"),
    ("https:///x", "'' is no host", "write https://host/"),
]


@pytest.mark.parametrize("model", RIGHT)
def test_what_is_right_is_taken(model: str) -> None:
    assert malformed(model) is None


@pytest.mark.parametrize(("model", "message", "fix"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_malformed_is_told_with_what_to_write(model: str, message: str, fix: str) -> None:
    found = malformed(model)

    assert isinstance(found, Malformed)
    assert message in found.message
    assert fix in found.fix
    assert "pass" not in found.message.replace("password", "")


@pytest.mark.parametrize(
    ("model", "name", "revision", "path", "tag", "fetched"),
    [
        ("hf://org/name@abc", "org/name", "abc", "", "", True),
        ("hf://org/name:Q4@abc", "org/name", "abc", "", "Q4", True),
        ("hf://org/name/sub/a.gguf@refs/pr/1", "org/name", "refs/pr/1", "sub/a.gguf", "", True),
        ("hf://gpt2", "gpt2", None, "", "", True),
        ("s3://bucket/a", "s3://bucket/a", None, "", "", True),
        ("file:///models/a", "/models/a", None, "", "", False),
        ("org/name@abc", "org/name@abc", None, "", "", False),
    ],
)
def test_taken_apart(model: str, name: str, revision: str | None, path: str, tag: str, fetched: bool) -> None:
    found = model_source(model)

    assert (found.name, found.revision, found.path, found.tag, found.fetched) == (name, revision, path, tag, fetched)


@pytest.mark.parametrize(
    ("model", "pinned"),
    [
        (f"hf://org/name@{COMMIT}", True),
        ("hf://org/name@5206a32", True),
        ("hf://org/name@main", False),
        ("hf://org/name@v1.0", False),
        ("hf://org/name", False),
        ("s3://bucket/a", True),
        ("/models/a", True),
    ],
)
def test_pinned(model: str, pinned: bool) -> None:
    assert model_source(model).pinned is pinned


def test_the_pinned_form() -> None:
    assert pinned_at("hf://org/name:Q4@main", COMMIT) == f"hf://org/name:Q4@{COMMIT}"
    assert pinned_at("hf://org/name", COMMIT) == f"hf://org/name@{COMMIT}"


@pytest.mark.parametrize(
    ("why", "paths", "left"),
    [
        (
            "pickled and foreign forms beside safetensors",
            ("model.safetensors", "pytorch_model.bin", "x.pt", "tf_model.h5", "flax_model.msgpack", "config.json"),
            ("model.safetensors", "config.json"),
        ),
        ("pickled alone is the model", ("pytorch_model.bin", "config.json"), ("pytorch_model.bin", "config.json")),
        ("Meta's own form beside", ("a.safetensors", "original/consolidated.00.pth"), ("a.safetensors",)),
        ("Meta's own form alone", ("original/consolidated.00.pth",), ("original/consolidated.00.pth",)),
        ("what people read", ("README.md", "a.PNG", "LICENSE", ".gitattributes", ".github/x.yml"), ("LICENSE",)),
        ("a Triton repository", ("m/1/model.pt", "m/config.pbtxt"), ("m/1/model.pt", "m/config.pbtxt")),
        ("another folder's safetensors", ("a/x.safetensors", "b/y.bin"), ("a/x.safetensors", "b/y.bin")),
        (
            "paths that lead out",
            ("../x.json", "/etc/x.json", "a//b.json", "a\\b.json", "", "a/./b.json", "ok.json"),
            ("ok.json",),
        ),
    ],
)
def test_what_engines_read_is_kept(why: str, paths: tuple[str, ...], left: tuple[str, ...]) -> None:
    assert kept(paths) == frozenset(left), why


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (("a.gguf", "config.json"), "a.gguf"),
        (("sub/a.GGUF",), "sub/a.GGUF"),
        (("a-00001-of-00002.gguf", "a-00002-of-00002.gguf", "mmproj-a.gguf"), "a-00001-of-00002.gguf"),
    ],
)
def test_llama_cpp_is_given_one_file(paths: tuple[str, ...], wanted: str) -> None:
    assert weight_file(engine("llama.cpp"), paths, "hf://org/name") == wanted
    assert weight_file(engine("vllm"), paths, "hf://org/name") == ""


def test_llama_cpp_cannot_choose_between_several() -> None:
    with pytest.raises(AgentFailure, match=r"has 2: a-Q4\.gguf, a-Q8\.gguf") as caught:
        weight_file(engine("llama.cpp"), ("a-Q8.gguf", "a-Q4.gguf"), "hf://org/name@abc")
    assert caught.value.hint.endswith("hf://org/name/a-Q4.gguf@abc")

    with pytest.raises(AgentFailure, match="has none"):
        weight_file(engine("llama.cpp"), ("a.safetensors",), "s3://bucket/a")


@pytest.mark.parametrize(
    ("why", "name", "model", "command", "wanted"),
    [
        ("fetched", "vllm", "hf://org/name@abc", (), "hf://org/name@abc"),
        ("fetched", "llama.cpp", "s3://bucket/a", (), "s3://bucket/a"),
        ("there already", "vllm", "file:///models/a", (), "file:///models/a"),
        ("a rehearsal loads nothing", "rehearsal", "hf://org/name", (), "engine+hf://org/name"),
        ("a command that names none", "vllm", "s3://bucket/a", ("run", "{model}"), "engine+s3://bucket/a"),
        ("a command that names them", "generic", "s3://bucket/a", ("run", "{weights}"), "s3://bucket/a"),
    ],
)
def test_what_the_node_fetches(why: str, name: str, model: str, command: tuple[str, ...], wanted: str) -> None:
    given = Service(
        name=ServiceName("chat"), engine=name, model=model, gpu=(Gpu(name="L4"),), concurrency=4, command=command
    )

    assert weights(engine(name), given) == wanted, why
