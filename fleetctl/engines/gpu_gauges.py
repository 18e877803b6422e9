"""Gauges of how busy GPUs are, as exporters and engines name them."""

from fleetctl.model.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuGauge:
    """One gauge, a series for each GPU."""

    name: str
    full: float
    """Its value for a GPU that is busy all the time."""
    index_label: str | None = None
    """The label with the GPU's index on its machine; None: it has none, and every series counts."""


GPU_GAUGES = (
    # NVIDIA/dcgm-exporter, etc/default-counters.csv: per cent.
    GpuGauge(name="DCGM_FI_DEV_GPU_UTIL", full=100.0, index_label="gpu"),
    # mindprince/nvidia_gpu_prometheus_exporter, over NVML: per cent.
    GpuGauge(name="nvidia_gpu_duty_cycle", full=100.0, index_label="minor_number"),
    # utkuozdemir/nvidia_gpu_exporter, over nvidia-smi: a share, labelled by UUID alone.
    GpuGauge(name="nvidia_smi_utilization_gpu_ratio", full=1.0),
    # Triton's own, over DCGM: a share, labelled by UUID alone.
    GpuGauge(name="nv_gpu_utilization", full=1.0),
)
"""The first that an exposition has is read."""
EXPORTER_PORT = 9400
"""Where dcgm-exporter listens when it is told nothing."""
