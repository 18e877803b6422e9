"""What /metrics says can be read by Prometheus, adds up, and names nobody beyond the largest tenants."""

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from fleetctl.gateway.measures import Histogram, PlaneMeasures, ServiceMeasures, stats_of
from fleetctl.gateway.metrics import exposition
from fleetctl.gateway.scheduler.views import BandView, LineView, TenantView
from fleetctl.model.names import ReplicaId, ServiceName

CHAT = ServiceName('ch"a\\t\n')
"""A name that must be escaped, as no Service may have: what is shown is safe whatever it is."""


def view() -> LineView:
    return LineView(
        service=CHAT, queued=3, queued_bytes=300, running=2, oldest_wait_s=1.5,
        bands=(BandView(band="high", queued=1, running=2, oldest_wait_s=0.5),),
        tenants=(TenantView(tenant="acme", queued=3, running=2), TenantView(tenant="other", queued=0, running=0)),
        in_flight=((ReplicaId("r0"), 2),), resting=(ReplicaId("r1"),), arrived=20, answered=10, failed=1, expired=2,
        cancelled=1, refused=4, sheds=(("queue_full", 3), ("overloaded", 1)), retries=5, prefix_hits=7,
        prefix_misses=3, wait_estimate_s=0.25,
    )  # fmt: skip


def measured() -> PlaneMeasures:
    service = ServiceMeasures(service=CHAT, input_tokens=100, output_tokens=50, cached_tokens=20)
    service.ttft.observe(0.2)
    service.inter_token.observe(0.02, 40)
    return PlaneMeasures(
        held_bytes=1, client_connections=2, upstream_connections=3, unrouted=4, malformed=5,
        refusals={"queue_full": 3, "missing_api_key": 6}, services=(service,), lines=(view(),),
    )  # fmt: skip


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (one.name.removeprefix("fleetctl_gateway_"), tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_every_measure_can_be_read_back() -> None:
    found = samples(exposition(measured()))

    def value(name: str, **labels: str) -> float:
        return found[name, tuple(sorted(labels.items()))]

    assert [value(name) for name in ("held_bytes", "client_connections", "upstream_connections")] == [1, 2, 3]
    assert value("refused_total", code="missing_api_key") == 6
    assert value("queued", service=CHAT) == 3
    assert value("oldest_wait_seconds", service=CHAT) == 1.5
    assert value("band_queued", service=CHAT, band="high") == 1
    assert value("tenant_in_flight", service=CHAT, tenant="acme") == 2
    assert value("in_flight", service=CHAT, replica="r0") == 2
    assert value("resting", service=CHAT) == 1
    assert value("sheds_total", service=CHAT, reason="overloaded") == 1
    assert value("requests_total", service=CHAT, outcome="expired") == 2
    assert value("retries_total", service=CHAT) == 5
    assert (value("prefix_hits_total", service=CHAT), value("prefix_misses_total", service=CHAT)) == (7, 3)
    assert [value(f"{kind}_tokens_total", service=CHAT) for kind in ("input", "cached", "output")] == [100, 20, 50]
    assert value("ttft_seconds_bucket", service=CHAT, le="0.25") == 1
    assert value("ttft_seconds_bucket", service=CHAT, le="0.1") == 0
    assert value("inter_token_seconds_count", service=CHAT) == 40
    assert value("inter_token_seconds_sum", service=CHAT) == 0.8


def test_every_family_has_a_kind_and_counters_are_named_so() -> None:
    families = list(text_string_to_metric_families(exposition(measured())))

    assert all(family.type in ("gauge", "counter", "histogram") and family.documentation for family in families)
    assert len({family.name for family in families}) == len(families)


def test_nothing_counted_is_still_readable() -> None:
    assert samples(exposition(PlaneMeasures()))["held_bytes", ()] == 0


def test_measures_of_several_processes_add_up_after_a_journey() -> None:
    one = msgspec.msgpack.decode(msgspec.msgpack.encode(measured()), type=PlaneMeasures)
    two = measured()
    two.lines = ()  # the queues are in one place only

    one.add(two)

    found = samples(exposition(one))
    service = (("service", CHAT),)
    assert found["client_connections", ()] == 4
    assert found["input_tokens_total", service] == 200
    assert found["inter_token_seconds_count", service] == 80
    assert found["refused_total", (("code", "queue_full"),)] == 6
    assert found["queued", service] == 3


def test_a_service_known_to_one_process_only_is_kept() -> None:
    one = PlaneMeasures()

    one.add(measured())

    assert one.services[0].input_tokens == 100


def test_the_controller_gets_what_it_scales_by() -> None:
    stats = stats_of(measured(), at=99.0)[0]

    assert (stats.at, stats.service, stats.queued, stats.oldest_wait_s) == (99.0, CHAT, 3, 1.5)
    assert (stats.arrived, stats.completed, stats.failed) == (20, 10, 3)
    assert dict(stats.in_flight) == {"r0": 2}
    assert stats.ttft is not None
    assert sum(stats.ttft.counts) == 1


def test_a_histogram_counts_inclusively() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)

    assert (histogram.counts, histogram.total) == ([1, 2, 1], 7.5)
