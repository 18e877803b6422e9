"""Paths that steer an engine instead of asking it: never forwarded, as only the network guards them."""

import posixpath
from typing import Final
from urllib.parse import unquote

_VLLM: Final = (
    "abort_requests", "collective_rpc", "finish_weight_update", "init_weight_transfer_engine", "is_paused",
    "is_scaling_elastic_ep", "is_sleeping", "pause", "reset_encoder_cache", "reset_mm_cache",
    "reset_prefix_cache", "resume", "scale_elastic_ep", "server_info", "sleep", "start_profile",
    "start_weight_update", "stop_profile", "update_weights", "v1/load_lora_adapter", "v1/unload_lora_adapter",
    "wake_up",
)  # fmt: skip
_SGLANG: Final = (
    "abort_request", "clear_hicache_storage_backend", "close_session", "configure_logging",
    "continue_generation", "destroy_weights_update_group", "dump_expert_distribution_record", "flush_cache",
    "freeze_gc", "get_internal_state", "get_server_info", "get_weights_by_name", "init_weights_update_group",
    "load_lora_adapter", "open_session", "pause_generation", "release_memory_occupation",
    "resume_memory_occupation", "set_internal_state", "slow_down", "start_expert_distribution_record",
    "stop_expert_distribution_record", "unload_lora_adapter", "update_weight_version",
    "update_weights_from_disk", "update_weights_from_distributed", "update_weights_from_tensor",
)  # fmt: skip
_LLAMA_CPP: Final = ("lora-adapters", "models/load", "models/unload", "props", "slots")
_TRITON: Final = ("v2/cudasharedmemory", "v2/logging", "v2/repository", "v2/systemsharedmemory", "v2/trace")
_ANY: Final = ("debug", "metrics", "rehearsal")

_STEERING: Final = frozenset(_VLLM + _SGLANG + _LLAMA_CPP + _TRITON + _ANY)
_DEEPEST: Final = max(path.count("/") for path in _STEERING) + 1
"""Segments of the longest of them: a path of thirty thousand is not looked at in as many ways."""
_ORDINARY: Final = frozenset((b"/v1/chat/completions", b"/v1/completions", b"/v1/embeddings", b"/v1/responses"))
_UNQUOTINGS_MAX: Final = 3
"""A server unquotes once, one behind a proxy twice; a path that is still quoted then is refused."""


def steers(target: bytes) -> bool:
    """Whether a request's target, however it is spelled, is a control path or lies under one."""
    if target in _ORDINARY:
        return False
    path = target.partition(b"?")[0].decode("latin-1")
    for _ in range(_UNQUOTINGS_MAX):
        if "%" not in path:
            break
        path = unquote(path, encoding="latin-1")
    else:
        if "%" in path:
            return True
    path = path.replace("\\", "/").partition("?")[0].partition("#")[0].partition(";")[0]
    parts = [part for part in posixpath.normpath("/" + path).lower().split("/") if part]
    return any("/".join(parts[:count]) in _STEERING for count in range(1, min(len(parts), _DEEPEST) + 1))
