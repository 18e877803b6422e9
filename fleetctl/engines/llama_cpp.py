"""llama.cpp's `llama-server`.

Metric names: ggml-org/llama.cpp `tools/server/server-context.cpp`, served only with `--metrics`; options and `/health`
(503 while the model loads): `tools/server/README.md`. It loads one GGUF file; of one that is split, the first part.
"""

from fleetctl.engines.engine import Cache, Engine, Load, LogHint, Metric

ENGINE = Engine(
    name="llama.cpp",
    loads=(
        Load(
            running=Metric(name="llamacpp:requests_processing"),
            waiting=Metric(name="llamacpp:requests_deferred"),
            input_tokens=Metric(name="llamacpp:prompt_tokens_total"),
            output_tokens=Metric(name="llamacpp:tokens_predicted_total"),
        ),
    ),
    concurrency=4,
    concurrency_argument="--parallel",
    concurrency_aliases=("-np",),
    concurrency_env="LLAMA_ARG_N_PARALLEL",
    name_argument="--alias",
    command=("llama-server", "--model", "{model}", "--host", "127.0.0.1", "--port", "{port}", "--metrics"),
    container_command=("--model", "{model}", "--host", "0.0.0.0", "--port", "{port}", "--metrics"),
    container_port=8080,
    weights="file",
    names_model=True,
    caches=(Cache(holds="weights", path="~/.cache/llama.cpp", env="LLAMA_CACHE"),),
    log_hints=(
        LogHint(text="failed to load model", hint="check that the file is a GGUF this build reads"),
        LogHint(text="unable to allocate", hint="lower --ctx-size or --gpu-layers in `args`, or take a larger GPU"),
    ),
)
