"""vLLM.

Metric names: vllm-project/vllm `vllm/v1/metrics/loggers.py`, seen in 0.32.0. `vllm:num_requests_waiting` is the sum
over `vllm:num_requests_waiting_by_reason`, which must not be read in its place. One series for each data-parallel rank
(`engine`). Sleep: `vllm/entrypoints/serve/dev/sleep/api_router.py`, registered only with VLLM_SERVER_DEV_MODE=1.
The image's entry point is `vllm serve`, in older images `api_server`; both take `--model`.
"""

from fleetctl.engines.engine import Cache, Engine, Hub, Load, LogHint, Metric, Sleep
from fleetctl.model.nodes import Call

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
    hub=Hub(revision_argument="--revision"),
    caches=(
        Cache(holds="weights", path="~/.cache/huggingface", env="HF_HOME"),
        Cache(holds="compiled", path="~/.cache/vllm", env="VLLM_CACHE_ROOT"),
    ),
    sleep=Sleep(
        # Level 1 keeps the weights in host memory; level 2 drops them and would need a reload between two wake calls.
        enter=(Call(path="/sleep?level=1"),),
        wake=(Call(path="/wake_up"),),
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
