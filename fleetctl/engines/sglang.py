"""SGLang.

Metric names: sgl-project/sglang `python/sglang/srt/observability/metrics_collector.py`, served only with
`--enable-metrics`. One series for each data-parallel rank. With priority scheduling the total stands under
`priority=""` beside one series for each priority, and every pipeline stage reports the same requests; plain sums would
count twice. `--enable-metrics-for-all-schedulers` repeats them for each tensor-parallel rank: do not set it.
Sleep: `python/sglang/srt/entrypoints/http_server.py`; both calls want a JSON body.
"""

from fleetctl.engines.engine import Cache, Engine, Load, LogHint, Metric, Sleep, SleepLevel
from fleetctl.engines.vllm import COMPILED
from fleetctl.model.nodes import Call

_ONCE = (("priority", ""), ("pp_rank", "0"))

ENGINE = Engine(
    name="sglang",
    loads=(
        Load(
            running=Metric(name="sglang:num_running_reqs", where=_ONCE),
            waiting=Metric(name="sglang:num_queue_reqs", where=_ONCE),
            input_tokens=Metric(name="sglang:prompt_tokens_total"),
            output_tokens=Metric(name="sglang:generation_tokens_total"),
            completed=Metric(name="sglang:num_requests_total"),
            ttft="sglang:time_to_first_token_seconds",
            end_to_end="sglang:e2e_request_latency_seconds",
        ),
    ),
    concurrency=256,
    concurrency_argument="--max-running-requests",
    name_argument="--served-model-name",
    command=(
        *("{python}", "-m", "sglang.launch_server", "--model-path", "{model}"),
        *("--host", "127.0.0.1", "--port", "{port}", "--enable-metrics"),
    ),
    # The image has no entry point of SGLang's own.
    container_command=(
        *("python3", "-m", "sglang.launch_server", "--model-path", "{model}"),
        *("--host", "0.0.0.0", "--port", "{port}", "--enable-metrics"),
    ),
    container_port=30000,
    names_model=True,
    loaders=(
        ("stream", ("--load-format", "runai_streamer")),
        ("sharded", ("--load-format", "sharded_state")),
    ),
    caches=(
        Cache(holds="weights", path="~/.cache/huggingface", env="HF_HOME"),
        *COMPILED,
        Cache(holds="compiled", path="~/.cache/deep_gemm", env="SGLANG_DG_CACHE_DIR"),  # unverified
    ),
    package="sglang",
    aside=(
        *("--served-model-name", "--log-level", "--log-level-http", "--log-requests", "--log-requests-level"),
        *("--enable-metrics", "--load-format", "--model-loader-extra-config", "--download-dir", "--chat-template"),
        *("--tool-call-parser", "--reasoning-parser", "--admin-api-key", "--watchdog-timeout"),
    ),
    sleep=Sleep(
        keeping=SleepLevel(
            enter=(Call(path="/release_memory_occupation", body="{}"),),
            wake=(Call(path="/resume_memory_occupation", body="{}"),),
        ),
        # Without the backup (0.5.3 and later) the weights are not there any more when it wakes.
        start_args=("--enable-memory-saver", "--enable-weights-cpu-backup"),
    ),
    log_hints=(
        LogHint(text="Not enough memory", hint="raise --mem-fraction-static in `args` or take a larger GPU"),
        LogHint(text="CUDA out of memory", hint="take more or larger GPUs, or a quantised model"),
    ),
)
