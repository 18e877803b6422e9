"""fleetctl's own stand-in for an engine: vLLM's API and metrics, an engine's waits, and no GPU."""

from dataclasses import replace

from fleetctl.engines.engine import Cache, Engine, Load, Metric
from fleetctl.engines.vllm import ENGINE as VLLM

ENGINE = Engine(
    name="rehearsal",
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
    concurrency=8,
    concurrency_argument="--max-num-seqs",
    name_argument="--served-model-name",
    many_names=True,
    command=("{python}", "-m", "fleetctl.rehearsal", "--port", "{port}", "--model", "{model}"),
    weights="none",
    names_model=True,
    caches=(Cache(holds="compiled", path="~/.cache/fleetctl-rehearsal", env="REHEARSAL_CACHE_DIR"),),
    package="fleetctl",
    sleep=None if VLLM.sleep is None else replace(VLLM.sleep, start_args=(), env=()),
)
