"""Which engine a command line of another tool starts, with which model and how many requests at once."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

MODEL_TO_FILL_IN = "hf://ORGANISATION/MODEL"
_STARTS = {
    "vllm": (r"\bvllm\s+serve\b", r"vllm\.entrypoints\.openai\.api_server", r"\bvllm\b.*\bapi_server\b"),
    "sglang": (r"sglang\.launch_server", r"\bsglang\s+serve\b"),
    "tgi": (r"\btext-generation-launcher\b",),
    "llama.cpp": (r"\bllama-server\b",),
}
_IMAGES = {
    "vllm": ("vllm/vllm", "vllm-openai"),
    "sglang": ("lmsysorg/sglang", "sglang"),
    "tgi": ("text-generation-inference",),
    "llama.cpp": ("llama.cpp", "llama-cpp"),
}
_MODEL = ("--model", "--model-path", "--model-id", "--hf-repo", "-m")
_AT_ONCE = ("--max-num-seqs", "--max-running-requests", "--max-concurrent-requests", "--parallel")
_OURS = ("--host", "--port", "--hostname", "--served-model-name")
"""What fleetctl says to the engine itself."""


def engine_of(words: str, image: str | None, env: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """`engine`, `model`, `concurrency` and `args` (or `command`), and what a person must look at."""
    line = _engine_line(words)
    name = next((one for one, starts in _STARTS.items() if any(re.search(start, words) for start in starts)), None)
    name = name or next((one for one, parts in _IMAGES.items() if image and any(part in image for part in parts)), None)
    if name is None:
        return _generic(words, image)
    tokens = _tokens(line)
    model, rest = _taken(tokens, _MODEL)
    if model is None and re.search(r"\b(vllm|sglang)\s+serve\b", line):
        at = next(index for index, word in enumerate(rest) if word == "serve")
        if at + 1 < len(rest) and not rest[at + 1].startswith("-"):
            model = rest.pop(at + 1)
    model = _expanded(model or env.get("MODEL_ID") or env.get("MODEL_NAME") or env.get("MODEL"), env)
    at_once, rest = _taken(rest, _AT_ONCE)
    for option in _OURS:
        _, rest = _taken(rest, (option,))
    begins = next(
        (index for index, word in enumerate(rest) if word.startswith("-") and word not in ("-m", "-c")), len(rest)
    )
    args = [_expanded(word, env) or "" for word in rest[begins:]]
    notes = []
    if model is None or "$" in model:
        model = MODEL_TO_FILL_IN
        notes.append("model: the source does not say which; put yours")
    at_once = _expanded(at_once, env)
    found: dict[str, Any] = {"engine": name, "model": _uri(model), "concurrency": _count(at_once)}
    if found["concurrency"] is None:
        del found["concurrency"]
    if any("$" in word for word in args):
        notes.append("args: no shell reads them, so put values in place of what begins with $")
    if args:
        found["args"] = args
    return found, notes


def _generic(words: str, image: str | None) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {
        "engine": "generic",
        "model": "file:///models/TO-FILL-IN",
        "concurrency": 8,
        "metrics": {"running": "requests_running"},
    }
    if words.strip():
        found["command"] = ["sh", "-c", words.strip()]
    notes = [
        "engine: no engine that fleetctl knows is started here; if it is one, name it",
        "command: it must listen on the port {port}, which fleetctl fills in",
        "metrics.running: the name of the gauge at /metrics that counts requests being served",
        "concurrency: how many requests one replica serves at once",
    ]
    if not words.strip() and not image:
        found["command"] = ["sh", "-c", "echo put the engine here; exit 1"]
        notes.append("command: the source has none; put the engine's")
    return found, notes


def _engine_line(words: str) -> str:
    """The line of a script that starts the engine, with its continuations."""
    joined = re.sub(r"\\\s*\n", " ", words)
    lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]
    for line in lines:
        for part in re.split(r"&&|;", line):
            if any(re.search(start, part) for starts in _STARTS.values() for start in starts):
                return part.strip()
    return lines[-1] if lines else ""


def _tokens(line: str) -> list[str]:
    try:
        return [word for word in shlex.split(line) if word not in ("exec", "nohup", "&")]
    except ValueError:
        return line.split()


def _taken(words: Sequence[str], options: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of the first of these options, and the line without it."""
    rest = list(words)
    for index, word in enumerate(rest):
        name, equals, value = word.partition("=")
        if name not in options or (name == "-m" and index and rest[index - 1].startswith("python")):
            continue
        if equals:
            del rest[index]
            return value, rest
        if index + 1 < len(rest):
            value = rest[index + 1]
            del rest[index : index + 2]
            return value, rest
    return None, rest


def _expanded(text: str | None, env: Mapping[str, str]) -> str | None:
    """With the values of variables that the file itself gives."""
    if text is None:
        return None
    return re.sub(r"\$\{?(\w+)\}?", lambda found: env.get(found[1]) or found[0], text)


def _uri(model: str) -> str:
    if "://" in model:
        return model
    return f"file://{model}" if model.startswith("/") else f"hf://{model}"


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and int(text) > 0 else None
