"""Other tools' files as ours: each in its published shape, converted and then checked as a user's own files are."""

from pathlib import Path

import pytest
import yaml

from fleetctl.errors import SpecError, UsageError
from fleetctl.model.services import Market, Service
from fleetctl.spec.imports import SOURCES, convert
from fleetctl.spec.load import load

SKY = """
name: llama-serve
envs:
  MODEL_NAME: meta-llama/Llama-3.1-8B-Instruct
  HF_TOKEN:
resources:
  cloud: aws
  region: us-east-1
  accelerators: {L40S: 1, A100: 1}
  use_spot: true
  disk_size: 512
  ports: 8000
service:
  readiness_probe:
    path: /health
    initial_delay_seconds: 1200
  replica_policy:
    min_replicas: 1
    max_replicas: 10
    target_qps_per_replica: 2.5
    upscale_delay_seconds: 300
    downscale_delay_seconds: 1200
    base_ondemand_fallback_replicas: 1
    dynamic_ondemand_fallback: true
  load_balancing_policy: least_load
setup: |
  pip install vllm
run: |
  # serve it
  vllm serve $MODEL_NAME \\
    --host 0.0.0.0 --port 8000 --max-num-seqs 128 --max-model-len 8192
"""
DSTACK = """
type: service
name: llama31-service
image: vllm/vllm-openai:v0.11.0
env:
  - HF_TOKEN
  - MODEL_ID=meta-llama/Meta-Llama-3.1-8B-Instruct
commands:
  - vllm serve $MODEL_ID --max-model-len 4096
port: 8000
model: meta-llama/Meta-Llama-3.1-8B-Instruct
resources:
  gpu: H100:80GB:1
  disk: 200GB
replicas: 0..4
scaling:
  metric: rps
  target: 10
  scale_down_delay: 10m
spot_policy: auto
regions: [us-east-1]
backends: [aws, runpod]
max_price: 4.5
"""
KNATIVE = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: chat, namespace: default}
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/class: kpa.autoscaling.knative.dev
        autoscaling.knative.dev/metric: concurrency
        autoscaling.knative.dev/target: "50"
        autoscaling.knative.dev/target-utilization-percentage: "80"
        autoscaling.knative.dev/min-scale: "0"
        autoscaling.knative.dev/max-scale: "6"
        autoscaling.knative.dev/initial-scale: "1"
        autoscaling.knative.dev/window: 90s
        autoscaling.knative.dev/panic-window-percentage: "20"
        autoscaling.knative.dev/panic-threshold-percentage: "150"
        autoscaling.knative.dev/scale-down-delay: 15m
        autoscaling.knative.dev/scale-to-zero-pod-retention-period: 10m
    spec:
      containerConcurrency: 64
      timeoutSeconds: 600
      nodeSelector: {nvidia.com/gpu.product: NVIDIA-L40S}
      containers:
        - name: engine
          image: vllm/vllm-openai:v0.11.0
          args: [--model, meta-llama/Llama-3.1-8B-Instruct, --max-model-len, "8192"]
          ports: [{containerPort: 8000}]
          env:
            - {name: VLLM_LOGGING_LEVEL, value: INFO}
            - {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}
          readinessProbe: {httpGet: {path: /health, port: 8000}}
          resources:
            limits: {nvidia.com/gpu: 2, memory: 64Gi}
"""
HPA = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: chat}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
  minReplicas: 2
  maxReplicas: 9
  metrics:
    - type: Pods
      pods: {metric: {name: vllm_num_requests_running}, target: {type: AverageValue, averageValue: "40"}}
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 0
      selectPolicy: Max
      policies: [{type: Percent, value: 100, periodSeconds: 15}, {type: Pods, value: 4, periodSeconds: 15}]
    scaleDown:
      stabilizationWindowSeconds: 300
      policies: [{type: Pods, value: 1, periodSeconds: 60}]
"""
KEDA = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: chat}
spec:
  scaleTargetRef: {name: chat}
  minReplicaCount: 0
  maxReplicaCount: 8
  cooldownPeriod: 600
  triggers:
    - type: cron
      metadata: {timezone: Europe/Berlin, start: 0 8 * * 1-5, end: 30 18 * * 1-5, desiredReplicas: "4"}
    - type: prometheus
      metadata: {serverAddress: http://prometheus:9090, query: sum(vllm_num_requests_waiting), threshold: "5"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  replicas: 1
  selector: {matchLabels: {app: chat}}
  template:
    metadata: {labels: {app: chat}}
    spec:
      containers:
        - name: sglang
          image: lmsysorg/sglang:v0.5.3
          command: [python3, -m, sglang.launch_server]
          args: [--model-path, Qwen/Qwen3-8B, --max-running-requests, "48", --port, "30000"]
          resources: {limits: {nvidia.com/gpu: "1"}}
"""


def imported(source: str, text: str, folder: Path) -> tuple[Service, str]:
    """What our own checks make of the file as it is written."""
    made = convert(source, text, "their.yaml").text(source)
    path = folder / "service.yaml"
    path.write_text(made)
    (service,) = load([path]).services
    return service, made


def test_sky_serve(tmp_path: Path) -> None:
    service, text = imported("sky", SKY, tmp_path)

    assert (service.name, service.engine, service.concurrency) == ("llama-serve", "vllm", 128)
    assert service.model == "hf://meta-llama/Llama-3.1-8B-Instruct"
    assert service.args == ("--max-model-len", "8192")
    assert [str(one) for one in service.gpu] == ["L40S:1", "A100:1"]
    assert (service.scaling.min, service.scaling.max, service.scaling.requests_per_second) == (1, 10, 2.5)
    assert (service.scaling.up.stabilization_s, service.scaling.scale_down_delay_s) == (300.0, 1200.0)
    assert service.placement.mix is not None
    assert (service.placement.mix.spot, service.placement.mix.on_demand_base) == (1.0, 1)
    assert (service.placement.providers, service.placement.regions) == (("aws",), ("us-east-1",))
    assert service.readiness_path == "/health"
    assert "#   setup: images bring" in text
    assert "resources.disk_size:" in text
    assert "service.readiness_probe.initial_delay_seconds:" in text
    assert "TO CHECK: env.HF_TOKEN" in text


def test_dstack(tmp_path: Path) -> None:
    service, text = imported("dstack", DSTACK, tmp_path)

    assert (service.name, service.engine, service.image) == ("llama31-service", "vllm", "vllm/vllm-openai:v0.11.0")
    assert service.model == "hf://meta-llama/Meta-Llama-3.1-8B-Instruct"
    assert [str(one) for one in service.gpu] == ["H100:1"]
    assert (service.scaling.min, service.scaling.max) == (0, 4)
    assert (service.scaling.requests_per_second, service.scaling.scale_down_delay_s) == (10.0, 600.0)
    assert service.placement.mix is not None
    assert service.placement.providers == ("aws", "sky")
    assert service.placement.max_price_per_hour == 4.5
    assert "#   port:" in text
    assert "resources.disk:" in text


def test_knative(tmp_path: Path) -> None:
    service, text = imported("knative", KNATIVE, tmp_path)

    assert (service.engine, service.concurrency, str(service.gpu[0])) == ("vllm", 64, "L40S:2")
    scaling = service.scaling
    assert (scaling.min, scaling.max, scaling.policy, scaling.target) == (0, 6, "target_concurrency", 0.8)
    assert (scaling.window_s, scaling.panic_window_s, scaling.panic_threshold) == (90.0, 18.0, 1.5)
    assert (scaling.scale_down_delay_s, scaling.idle_s) == (900.0, 600.0)
    assert dict(service.env) == {"VLLM_LOGGING_LEVEL": "INFO"}
    assert service.readiness_path == "/health"
    assert "initial-scale:" in text
    assert "TO CHECK: env.HF_TOKEN" in text
    assert "resources.limits.memory" in text


def test_an_hpa_alone(tmp_path: Path) -> None:
    service, text = imported("hpa", HPA, tmp_path)

    assert (service.scaling.min, service.scaling.max) == (2, 9)
    up, down = service.scaling.up, service.scaling.down
    assert [(one.kind, one.value, one.period_s) for one in up.policies] == [
        ("percent", 100, 15.0),
        ("replicas", 4, 15.0),
    ]
    assert (up.select, down.stabilization_s, down.policies[0].value) == ("max", 300.0, 1)
    assert "spec.metrics[0].type:" in text
    assert "TO CHECK: engine, model and gpu" in text


def test_keda_with_its_deployment(tmp_path: Path) -> None:
    service, text = imported("keda", KEDA, tmp_path)

    assert (service.engine, service.concurrency, service.model) == ("sglang", 48, "hf://Qwen/Qwen3-8B")
    assert (service.scaling.min, service.scaling.max, service.scaling.idle_s) == (0, 8, 600.0)
    (schedule,) = service.schedule
    assert (schedule.cron, schedule.tz, schedule.min) == ("0 8 * * 1-5", "Europe/Berlin", 4)
    assert schedule.duration_s == 10.5 * 3600
    assert "spec.triggers[0].metadata.query:" in text


def test_an_engine_that_nobody_knows_becomes_a_generic_one(tmp_path: Path) -> None:
    text = SKY.replace("vllm serve $MODEL_NAME", "python my_server.py")

    service, said = imported("sky", text, tmp_path)

    assert service.engine == "generic"
    assert service.command[:2] == ("sh", "-c")
    assert "TO CHECK: engine:" in said


def test_one_market_and_a_fixed_count(tmp_path: Path) -> None:
    text = DSTACK.replace("replicas: 0..4", "replicas: 3").replace("spot_policy: auto", "spot_policy: spot")

    service, _ = imported("dstack", text, tmp_path)

    assert (service.scaling.policy, service.scaling.replicas) == ("fixed", 3)
    assert (service.placement.market, service.placement.mix) == (Market.SPOT, None)


@pytest.mark.parametrize(
    ("source", "text", "said"),
    [
        ("sky", SKY.replace("max_replicas", "max_replica"), "did you mean service.replica_policy.max_replicas?"),
        ("sky", SKY.replace("disk_size", "disksize"), "did you mean resources.disk_size?"),
        ("sky", "name: train\nrun: python train.py\n", "only services"),
        ("sky", SKY.replace("{L40S: 1, A100: 1}", "null"), "GPUs"),
        ("dstack", DSTACK.replace("type: service", "type: task"), "type: service"),
        ("dstack", DSTACK.replace("spot_policy", "spotpolicy"), "did you mean spot_policy?"),
        ("dstack", DSTACK.replace("replicas: 0..4", "replicas: many"), "2, or 0..4"),
        ("knative", KNATIVE.replace("/max-scale", "/max-scal"), "did you mean autoscaling.knative.dev/max-scale?"),
        ("knative", HPA, "fleetctl import hpa their.yaml"),
        ("hpa", KNATIVE, "fleetctl import knative their.yaml"),
        ("keda", HPA, "is a HorizontalPodAutoscaler of autoscaling/v2, and no file for keda"),
        ("hpa", KEDA, "fleetctl import keda their.yaml"),
        ("sky", DSTACK, "fleetctl import dstack their.yaml"),
        ("dstack", SKY, "fleetctl import sky their.yaml"),
        ("sky", "kind: service\nname: chat\n", "fleetctl validate their.yaml"),
        ("hpa", HPA.replace("autoscaling/v2", "apps/v1"), "a HorizontalPodAutoscaler of apiVersion apps/v1"),
        ("hpa", HPA + "---\n" + KEDA, "give one"),
        ("hpa", HPA.replace("  maxReplicas: 9\n", ""), "an autoscaler has one"),
        ("hpa", "{", "mend it"),
        ("hpa", "", "one service"),
    ],
)
def test_what_is_wrong_is_told_with_the_file_and_what_was_meant(source: str, text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        convert(source, text, "their.yaml")

    assert caught.value.message.startswith("their.yaml")
    assert said in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("word", "near"), [("dstak", "dstack"), ("skyy", "sky"), ("knativ", "knative"), ("xyz", "one of")]
)
def test_a_source_that_there_is_not(word: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        convert(word, SKY, "their.yaml")

    assert near in caught.value.hint


@pytest.mark.parametrize(
    ("source", "text"), [("sky", SKY), ("dstack", DSTACK), ("knative", KNATIVE), ("hpa", HPA), ("keda", KEDA)]
)
def test_every_field_is_carried_over_or_named(source: str, text: str) -> None:
    made = convert(source, text, "their.yaml")

    kept = yaml.safe_load(made.text(source))
    assert kept == made.document
    assert all(why for _, why in made.left)
    assert len({name for name, _ in made.left}) == len(made.left)


def test_every_source_has_its_own_name() -> None:
    assert sorted(SOURCES) == ["dstack", "hpa", "keda", "knative", "sky"]


def test_a_file_of_which_every_field_is_carried_over_is_taken(tmp_path: Path) -> None:
    plain = (
        "name: chat\nresources: {accelerators: 'L40S:1'}\nservice: {replicas: 2}\nrun: vllm serve m --max-num-seqs 8\n"
    )

    service, text = imported("sky", plain, tmp_path)

    assert (service.name, service.concurrency) == ("chat", 8)
    assert "Not carried over" not in text
