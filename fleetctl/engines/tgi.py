"""Text Generation Inference.

Metric names: huggingface/text-generation-inference `router/src/server.rs` and `docs/source/reference/metrics.md`. Both
gauges appear with the first request; until then the load is unknown. Options: `docs/source/reference/launcher.md`.
"""

from fleetctl.engines.engine import Cache, Engine, Load, LogHint, Metric

ENGINE = Engine(
    name="tgi",
    loads=(
        Load(
            running=Metric(name="tgi_batch_current_size"),
            waiting=Metric(name="tgi_queue_size"),
            input_tokens=Metric(name="tgi_request_input_length_sum"),
            output_tokens=Metric(name="tgi_request_generated_tokens_sum"),
            completed=Metric(name="tgi_request_success"),
            end_to_end="tgi_request_duration",
        ),
    ),
    concurrency=128,
    concurrency_argument="--max-concurrent-requests",
    concurrency_env="MAX_CONCURRENT_REQUESTS",
    command=("text-generation-launcher", "--model-id", "{model}", "--hostname", "127.0.0.1", "--port", "{port}"),
    container_command=("--model-id", "{model}", "--hostname", "0.0.0.0", "--port", "{port}"),
    container_port=80,
    caches=(Cache(holds="weights", path="~/.cache/huggingface/hub", env="HUGGINGFACE_HUB_CACHE"),),
    log_hints=(
        LogHint(text="CUDA out of memory", hint="lower --max-batch-prefill-tokens in `args` or take a larger GPU"),
    ),
)
