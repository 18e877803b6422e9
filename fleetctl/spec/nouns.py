"""From documents to the model: what is written goes over the model's defaults, engines' defaults and presets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from fleetctl.engines import engine
from fleetctl.model.names import PoolName, ProviderName, ServiceName
from fleetctl.model.routes import TenantEntry, TenantLimits
from fleetctl.model.services import (
    Behavior,
    ColdStart,
    EngineMetrics,
    LocalMachine,
    Market,
    Mix,
    Placement,
    Pool,
    QueueRules,
    RatePolicy,
    RolloutRules,
    Scaling,
    Schedule,
    Service,
    Slo,
    Standby,
    Tier,
)
from fleetctl.spec.document import Document
from fleetctl.spec.documents import FleetDoc
from fleetctl.spec.entry_documents import GatewayDoc, ServiceQueueDoc
from fleetctl.spec.fleet import FleetConfig
from fleetctl.spec.gateway_documents import TenantDoc
from fleetctl.spec.pool_documents import LocalDoc, MixDoc, PlacementDoc, PoolDoc, StandbyDoc
from fleetctl.spec.scaling_documents import DirectionDoc, RateDoc, ScalingDoc, ScheduleDoc, TuningDoc
from fleetctl.spec.service_documents import ColdStartDoc, RolloutDoc, ServiceDoc
from fleetctl.spec.signal_nouns import gpu_metrics, signals
from fleetctl.spec.warm_up import calls


def service(doc: ServiceDoc, preset: Scaling) -> Service:
    """The Service, complete. `preset` is the scaling that `doc.scaling` stands over."""
    made = Service(
        name=ServiceName(doc.name),
        engine=doc.engine,
        model=doc.model,
        gpu=tuple(doc.gpu),
        concurrency=engine(doc.engine).concurrency if doc.concurrency is None else doc.concurrency,
        image=doc.image,
        command=tuple(doc.command or ()),
        args=tuple(doc.args or ()),
        env=tuple((doc.env or {}).items()),
        metrics=EngineMetrics(running=doc.metrics.running, waiting=doc.metrics.waiting) if doc.metrics else None,
        warm_up=calls(doc.warm_up or [], service=doc.name, engine_name=doc.engine, model=doc.model),
        slo=replace(Slo(ttft_s=doc.slo.ttft), **_given(doc.slo, percentile="percentile")) if doc.slo else None,
        cold_start=_cold_start(doc.cold_start),
        scaling=scaling(doc.scaling, preset),
        signals=signals(doc.signals or ()),
        gpu_metrics=gpu_metrics(doc.gpu_metrics),
        standby=standby(doc.standby) if doc.standby else None,
        schedule=tuple(schedule(entry) for entry in doc.schedule or ()),
        placement=placement(doc.placement),
        rollout=_rollout(doc.rollout),
        pool=PoolName(doc.pool) if doc.pool else None,
        queue=_queue(doc.queue),
        hosts=tuple(doc.hosts or ()),
        adapters=tuple(doc.adapters or ()),
        labels=tuple(sorted((doc.labels or {}).items())),
    )
    if doc.queue is not None and doc.queue.timeout is not None:
        made = replace(made, queue_timeout_s=doc.queue.timeout)
    return replace(
        made,
        **_given(
            doc,
            readiness_path="readiness_path",
            loading="loading",
            startup_timeout="startup_timeout_s",
            drain_timeout="drain_timeout_s",
            queue_timeout="queue_timeout_s",
        ),
    )


def scaling(doc: ScalingDoc | None, preset: Scaling) -> Scaling:
    """The preset with the Service's own values over it. A fixed count is its own maximum where none is written."""
    made = preset if doc is None else replace(tuned(doc, preset), **_given(doc, min="min", max="max"))
    if (doc is None or doc.max is None) and made.policy == "fixed" and made.replicas:
        made = replace(made, max=made.replicas)
    return made


def tuned(doc: TuningDoc, base: Scaling) -> Scaling:
    """`base` with the values of `doc` over it."""
    made = replace(
        base,
        **_given(
            doc,
            step="step",
            replicas="replicas",
            queued="queued",
            requests_per_second="requests_per_second",
            tokens_per_second="tokens_per_second",
            latency="latency_s",
            latency_of="latency_of",
            percentile="percentile",
            utilization="utilization",
            target="target",
            window="window_s",
            panic_window="panic_window_s",
            panic_threshold="panic_threshold",
            tolerance="tolerance",
            scale_down_delay="scale_down_delay_s",
            idle="idle_s",
        ),
    )
    if doc.behavior is None:
        return made
    return replace(made, up=_direction(doc.behavior.up, base.up), down=_direction(doc.behavior.down, base.down))


def _direction(doc: DirectionDoc | None, base: Behavior) -> Behavior:
    if doc is None:
        return base
    made = replace(base, **_given(doc, stabilization="stabilization_s", select="select"))
    return made if doc.policies is None else replace(made, policies=tuple(_rate(rate) for rate in doc.policies))


def _rate(doc: RateDoc) -> RatePolicy:
    if doc.percent is not None:
        return RatePolicy(kind="percent", value=doc.percent, period_s=doc.period)
    assert doc.replicas is not None, "RateDoc holds one of the two"
    return RatePolicy(kind="replicas", value=doc.replicas, period_s=doc.period)


def standby(doc: StandbyDoc) -> Standby:
    same = ("steps", "slots", "auto", "sleep_level", "share")
    made = replace(Standby(), **_given(doc, **{name: name for name in same}))
    return made if doc.tier is None else replace(made, tier=Tier(doc.tier))


def schedule(doc: ScheduleDoc) -> Schedule:
    """The Schedule, complete."""
    given = _given(doc, tz="tz", min="min", max="max", replicas="replicas")
    return replace(Schedule(cron=doc.cron, duration_s=doc.duration), **given)


def _rollout(doc: RolloutDoc | None) -> RolloutRules:
    given = _given(doc, surge="surge", settle="settle_s", failures="failures", deadline="deadline_s")
    return replace(RolloutRules(), **given)


def _queue(doc: ServiceQueueDoc | None) -> QueueRules:
    given = _given(doc, cold_timeout="cold_timeout_s", limit="limit", memory="limit_bytes", shed="shed")
    return replace(QueueRules(), **given)


def tenant(doc: TenantDoc) -> TenantEntry:
    """The Tenant, complete."""
    same = ("in_flight", "requests_per_minute", "tokens_per_minute", "tokens_per_month")
    made = TenantEntry(
        name=doc.name,
        limits=replace(TenantLimits(), **_given(doc.limits, **{name: name for name in same})),
        services=None if doc.services is None else tuple(ServiceName(name) for name in doc.services),
    )
    return replace(made, **_given(doc, weight="weight", priority="priority"))


def _cold_start(doc: ColdStartDoc | None) -> ColdStart:
    return replace(ColdStart(), **_given(doc, cold="cold_s", standby="standby_s"))


def placement(doc: PlacementDoc | None) -> Placement:
    if doc is None:
        return Placement()
    made = replace(
        Placement(
            providers=tuple(ProviderName(name) for name in doc.providers or ()), regions=tuple(doc.regions or ())
        ),
        **_given(doc, max_price_per_hour="max_price_per_hour", same="same"),
        beside=tuple(ServiceName(name) for name in doc.beside or ()),
    )
    return made if doc.market is None else _markets(made, doc.market)


def _markets(placement: Placement, doc: MixDoc) -> Placement:
    """All of one market is said as that market."""
    if doc.reserved:
        return replace(placement, market=Market.RESERVED)
    base = doc.on_demand_base or 0
    if doc.spot == 0 or (doc.spot == 1 and base == 0 and doc.fallback is False):
        return replace(placement, market=Market.SPOT if doc.spot else Market.ON_DEMAND)
    mix = replace(Mix(spot=doc.spot, on_demand_base=base), **_given(doc, fallback="fallback"))
    return replace(placement, market=Market.SPOT, mix=mix)


def pool(doc: PoolDoc) -> Pool:
    """The Pool, complete."""
    where = placement(doc.placement)
    if doc.provider is not None:
        where = replace(where, providers=(ProviderName(doc.provider),))
    made = replace(
        Pool(name=PoolName(doc.name), gpu=tuple(doc.gpu), placement=where, local=_local(doc.local)),
        **_given(doc, min="min", max="max", price_per_hour="price_per_hour", lazy="lazy"),
        registry_mirrors=tuple(doc.registry_mirrors or ()),
        labels=tuple(sorted((doc.labels or {}).items())),
    )
    return made if doc.standby is None else replace(made, standby=standby(doc.standby))


def _local(doc: LocalDoc | None) -> LocalMachine:
    return replace(LocalMachine(), **_given(doc, boot="boot_s", image="image_s", weights="weights_s"))


def config(doc: FleetDoc, folder: Path) -> FleetConfig:
    """The fleet's settings; a store's path is taken from the folder of the file that names it."""
    made = replace(FleetConfig(), **_given(doc, name="name", period="period_s", max_cost_per_hour="max_cost_per_hour"))
    made = replace(made, registry_mirrors=tuple(doc.registry_mirrors or ()))
    if doc.providers is not None:
        made = replace(made, providers=doc.providers)
    made = replace(made, **_gateway(doc.gateway, folder), **_given(doc.daemon, metrics_listen="daemon_metrics_listen"))
    if doc.store is not None:
        is_url = "://" in doc.store
        made = replace(made, store_url=doc.store if is_url else str((folder / Path(doc.store).expanduser()).resolve()))
    return made


def _gateway(doc: GatewayDoc | None, folder: Path) -> dict[str, Any]:
    """Paths are taken from the folder of the file that names them: the gateway runs elsewhere."""
    if doc is None:
        return {}
    made = _given(
        doc,
        listen="gateway_listen",
        auth="gateway_auth",
        workers="gateway_workers",
        metrics_listen="gateway_metrics_listen",
    )
    if doc.tls is not None:
        made["gateway_certificate"] = _absolute(doc.tls.certificate, folder)
        made["gateway_key"] = None if doc.tls.key is None else _absolute(doc.tls.key, folder)
    if doc.access_log is not None:
        made["gateway_access_log"] = _absolute(doc.access_log.file, folder)
        made |= _given(doc.access_log, sample="gateway_access_log_sample")
    return made


def _absolute(path: str, folder: Path) -> str:
    return str((folder / Path(path).expanduser()).resolve())


def _given(doc: Document | None, **fields: str) -> dict[str, Any]:
    """The values of those fields that are written, by the name that the model gives them."""
    values = ((target, getattr(doc, field, None)) for field, target in fields.items())
    return {target: value for target, value in values if value is not None}
