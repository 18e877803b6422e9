"""vLLM.

Metric names: vllm-project/vllm `vllm/v1/metrics/loggers.py`, seen in 0.32.0. `vllm:num_requests_waiting` is the sum
over `vllm:num_requests_waiting_by_reason`, which must not be read in its place. One series for each data-parallel rank
(`engine`). Sleep: `vllm/entrypoints/serve/dev/sleep/api_router.py`, registered only with VLLM_SERVER_DEV_MODE=1, as
are `/collective_rpc` and `/reset_prefix_cache`; each of these may be repeated: a part that is awake already stays so.
The image's entry point is `vllm serve`, in older images `api_server`; both take `--model`.
"""

from fleetctl.engines.engine import Cache, Engine, Load, LogHint, Metric, Sleep, SleepLevel
from fleetctl.model.nodes import Call

ASLEEP = Call(path="/is_sleeping", method="GET", expect='"is_sleeping":true')
AWAKE = Call(path="/is_sleeping", method="GET", expect='"is_sleeping":false')
"""Asked at the end: a call that meets the engine in the wrong state is answered with 200 and does nothing."""
WAKE_DROPPED = (
    Call(path="/wake_up?tags=weights"),
    Call(path="/collective_rpc", body='{"method": "reload_weights"}'),
    Call(path="/wake_up?tags=kv_cache"),
    Call(path="/reset_prefix_cache"),
    AWAKE,
)
"""Memory for the weights, then the weights into it, then the KV cache beside them, which must not hold what an engine
with other weights put there."""

COMPILED = (
    # Names: PyTorch's and Triton's documentation; the CUDA driver's (CUDA Programming Guide, environment variables).
    # FlashInfer's and DeepGEMM's are as their users set them, and unverified in the engines' own code.
    Cache(holds="compiled", path="~/.cache/torchinductor", env="TORCHINDUCTOR_CACHE_DIR"),
    Cache(holds="compiled", path="~/.triton/cache", env="TRITON_CACHE_DIR"),
    Cache(holds="compiled", path="~/.nv/ComputeCache", env="CUDA_CACHE_PATH"),
    Cache(holds="compiled", path="~", env="FLASHINFER_WORKSPACE_BASE"),
    Cache(holds="compiled", path="~/.deep_gemm", env="DG_JIT_CACHE_DIR"),
)
"""What engines on torch compile beside their own caches, each library into a folder of its own."""

ENGINE = Engine(
    name="vllm",
    loads=(
        Load(
            running=Metric(name="vllm:num_requests_running"),
            waiting=Metric(name="vllm:num_requests_waiting"),
            input_tokens=Metric(name="vllm:prompt_tokens_total"),
            output_tokens=Metric(name="vllm:generation_tokens_total"),
            completed=Metric(name="vllm:request_success_total"),
            ttft="vllm:time_to_first_token_seconds",
            end_to_end="vllm:e2e_request_latency_seconds",
        ),
    ),
    concurrency=256,
    concurrency_argument="--max-num-seqs",
    name_argument="--served-model-name",
    many_names=True,
    command=("vllm", "serve", "{model}", "--host", "127.0.0.1", "--port", "{port}"),
    container_command=("--model", "{model}", "--host", "0.0.0.0", "--port", "{port}"),
    container_port=8000,
    names_model=True,
    # `vllm/config/load.py`.
    loaders=(
        ("prefetch", ("--safetensors-load-strategy", "prefetch")),
        ("eager", ("--safetensors-load-strategy", "eager")),
        ("fast", ("--load-format", "fastsafetensors")),
        ("stream", ("--load-format", "runai_streamer")),
        ("sharded", ("--load-format", "sharded_state")),
    ),
    caches=(
        Cache(holds="weights", path="~/.cache/huggingface", env="HF_HOME"),
        Cache(holds="compiled", path="~/.cache/vllm", env="VLLM_CACHE_ROOT"),
        *COMPILED,
    ),
    package="vllm",
    aside=(
        *("--served-model-name", "--uvicorn-log-level", "--disable-uvicorn-access-log", "--disable-log-requests"),
        *("--enable-log-requests", "--disable-log-stats", "--max-log-len", "--otlp-traces-endpoint"),
        # How weights come into memory is no part of the code that runs on them.
        *("--load-format", "--model-loader-extra-config", "--safetensors-load-strategy", "--download-dir"),
        *("--chat-template", "--response-role", "--enable-auto-tool-choice", "--tool-call-parser"),
        *("--allowed-origins", "--allowed-methods", "--allowed-headers", "--allow-credentials"),
    ),
    aside_env=("VLLM_LOGGING_*", "VLLM_LOG_STATS_INTERVAL", "VLLM_API_KEY", "VLLM_NO_USAGE_STATS", "VLLM_PORT"),
    sleep=Sleep(
        keeping=SleepLevel(enter=(Call(path="/sleep?level=1"), ASLEEP), wake=(Call(path="/wake_up"), AWAKE)),
        dropping=SleepLevel(enter=(Call(path="/sleep?level=2"), ASLEEP), wake=WAKE_DROPPED),
        start_args=("--enable-sleep-mode",),
        env=(("VLLM_SERVER_DEV_MODE", "1"),),
    ),
    log_hints=(
        LogHint(
            text="No available memory for the cache blocks",
            hint="raise --gpu-memory-utilization or take a larger GPU",
        ),
        LogHint(
            text="larger than the maximum number of tokens that can be stored in KV cache",
            hint="lower --max-model-len in `args`",
        ),
        LogHint(text="larger than the available KV cache memory", hint="lower --max-model-len in `args`"),
        LogHint(text="CUDA out of memory", hint="take more or larger GPUs, or a quantised model"),
        LogHint(text="401 Client Error", hint="the model is gated: its Node needs an HF_TOKEN that may read it"),
    ),
)
