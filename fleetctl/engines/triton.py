"""Triton Inference Server behind its OpenAI front end.

The front end serves `/metrics` and `/health/ready` on the API's own port (triton-inference-server/server
`python/openai/openai_frontend/frontend/fastapi/routers/observability.py`).

Triton itself has no gauge of running requests: `nv_inference_count` and its kin are counters, and
`nv_inference_pending_request_count` (triton-inference-server/core `src/metric_model_reporter.cc`) counts only those
that no backend has taken yet, so that it may be 0 with every slot busy. As a load it would call a full server idle;
therefore it is not read, and the load of a plain Triton is unknown. The LLM backends have true gauges, which are read:
`vllm:num_requests_*` (triton-inference-server/vllm_backend `src/utils/metrics.py`) and `nv_trt_llm_request_metrics` by
`request_type` (triton-inference-server/tensorrtllm_backend `README.md`; of its types, kubernetes-sigs/
gateway-api-inference-extension reads the same two). For other backends name gauges of your own under `metrics`.
"""

from fleetctl.engines.engine import Cache, Engine, Load, LogHint, Metric

_FRONT_END = "/opt/tritonserver/python/openai/openai_frontend/main.py"

ENGINE = Engine(
    name="triton",
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
        Load(
            running=Metric(name="nv_trt_llm_request_metrics", where=(("request_type", "scheduled"),)),
            waiting=Metric(name="nv_trt_llm_request_metrics", where=(("request_type", "waiting"),)),
        ),
    ),
    concurrency=64,
    # The batch limit is `max_batch_size` in the model repository.
    concurrency_argument=None,
    command=(
        *("{python}", _FRONT_END, "--model-repository", "{model}"),
        *("--host", "127.0.0.1", "--openai-port", "{port}"),
    ),
    container_command=(
        *("python3", _FRONT_END, "--model-repository", "{model}"),
        *("--host", "0.0.0.0", "--openai-port", "{port}"),
    ),
    container_port=9000,
    readiness_path="/health/ready",
    caches=(Cache(holds="weights", path="~/.cache/huggingface", env="HF_HOME"),),
    log_hints=(LogHint(text="failed to load all models", hint="check the model repository's config.pbtxt files"),),
)
