"""`fleetctl describe` (Look): Everything about one service, replica, instance or pool."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fleetctl.cli.charts import Bar, WaterfallRow, waterfall
from fleetctl.cli.explain import explained
from fleetctl.cli.output import Format, Output, ago, document, dollars
from fleetctl.cli.session import event_line, session
from fleetctl.cli.subjects import subject_of
from fleetctl.cli.views import FleetView, replica_rows, service_rows, used_gpus
from fleetctl.errors import NotFound
from fleetctl.model.decisions import Event
from fleetctl.model.instances import Instance
from fleetctl.model.replicas import Replica

app = typer.Typer(add_completion=False)

EVENTS_SHOWN = 8


@app.command()
def describe(
    subject: Annotated[
        str, typer.Argument(help="service/NAME, replica/NAME, instance/NAME or pool/NAME; or the NAME alone")
    ],
    output: Output = Format.TABLE,
) -> None:
    """Show one service, replica (with its cold start as a waterfall), instance or pool."""
    with session() as now:
        view = now.view()
        kind, _, name = subject_of(subject, view).partition("/")
        events = list(now.store.events(subject=f"{kind}/{name}", limit=EVENTS_SHOWN))
        body, text = _described(view, kind, name)
        if output is Format.NAME:
            sys.stdout.write(f"{kind}/{name}\n")
        elif output is not Format.TABLE:
            document(body, output)
        else:
            sys.stdout.write(text + _events(events))


def _described(view: FleetView, kind: str, name: str) -> tuple[object, str]:
    match kind:
        case "service":
            return _service(view, name)
        case "replica":
            for replica in view.replicas:
                if replica.id == name:
                    return replica, _replica(view, replica)
        case "instance":
            for instance in view.instances:
                if instance.id == name:
                    return instance, _instance(view, instance)
        case "pool":
            pools = {str(pool.name): pool for pool in view.pools}
            for intent in view.intents:
                pools.setdefault(str(intent.service.pool_name), view.pool_of(intent))
            if name in pools:
                return pools[name], _pool(view, name)
    raise NotFound(f"there is no {kind} {name!r}", hint="see: fleetctl ps, ps -r, ps -i")


def _service(view: FleetView, name: str) -> tuple[object, str]:
    for row, intent in ((row, intent) for row in service_rows(view) for intent in view.intents):
        if row.name != name or intent.service.name != name:
            continue
        service = intent.service
        scaling = service.scaling
        lines = [
            f"service/{name}  {row.state}",
            f"  model     {service.model} on {service.engine}, {', '.join(map(str, service.gpu))} each",
            f"  endpoint  {row.endpoint}",
            f"  replicas  {row.ready} ready, {row.booting} on their way, {row.desired} decided"
            f" (min {scaling.min}, max {scaling.max}, step {scaling.step})",
            f"  standby   {row.standby_ready} of {row.standby_wanted} {row.tier}",
            f"  policy    {scaling.preset}: {service.target_concurrency:g} of {service.concurrency} requests a replica",
            f"  price     {dollars(row.price_per_hour)}/h",
            f"  revision  {intent.revision}",
            "",
        ]
        if intent.override is not None:
            lines.insert(-1, f"  override  {intent.override.replicas} by hand")
        lines += [
            f"  {one.name}  {one.role} {one.phase} on {one.instance or '-'} from {one.origin}"
            for one in replica_rows(view, name)
        ]
        decision = view.decisions.get(name)
        text = "\n".join(lines) + "\n"
        if decision is not None:
            text += "\n" + explained(decision, view.at)
        return {"service": service, "status": row}, text
    raise NotFound(f"there is no service {name!r}", hint="see: fleetctl ps -a")


def _replica(view: FleetView, replica: Replica) -> str:
    ready = "not ready" if replica.ready_at is None else f"ready after {replica.ready_at - replica.created_at:.1f} s"
    lines = [
        f"replica/{replica.id}  {replica.role} {replica.phase}, {ready} from {replica.origin}",
        f"  service   {replica.service}, revision {replica.revision}",
        f"  instance  {replica.instance or '-'}, GPUs {','.join(map(str, replica.gpus)) or '-'}",
        f"  address   {replica.address or '-'}",
        f"  age       {ago(view.at - replica.created_at)}",
        "",
    ]
    return "\n".join(lines) + "\n" + "\n".join(waterfall([cold_start(replica)], width=80)) + "\n"


def cold_start(replica: Replica) -> WaterfallRow:
    """The stages of one start, in seconds since it was decided."""
    bars = tuple(
        Bar(
            stage=stage.name,
            start_s=max(0.0, stage.started_at - replica.created_at),
            end_s=None if stage.ended_at is None else max(0.0, stage.ended_at - replica.created_at),
        )
        for stage in replica.stages
        # A standby fetched its artifacts before it was needed; that is no part of this start.
        if stage.ended_at is None or stage.ended_at > replica.created_at
    )
    return WaterfallRow(label=f"{replica.id} ({replica.origin})", bars=bars)


def _instance(view: FleetView, instance: Instance) -> str:
    offer = instance.offer
    lines = [
        f"instance/{instance.id}  {instance.phase}, wanted {instance.wanted}",
        f"  pool      {instance.pool}",
        f"  machine   {offer.instance_type} {offer.gpu} at {offer.provider}, {offer.zone}, {offer.market}",
        f"  price     {dollars(offer.price_per_hour)}/h ({offer.price_source})",
        f"  GPUs      {used_gpus(view.replicas, instance.id)} of {offer.gpu.count} used",
        f"  age       {ago(view.at - instance.created_at)}",
    ]
    if instance.notice is not None:
        heeded = "drains" if instance.reclaimed else "a hint: left where standby is at hand"
        lines.append(f"  notice    {instance.notice.told(view.at)}; {heeded}")
    if instance.failure:
        lines.append(f"  failure   {instance.failure}")
    lines += [f"  replica   {one.id} {one.role} {one.phase}" for one in view.replicas if one.instance == instance.id]
    return "\n".join(lines) + "\n"


def _pool(view: FleetView, name: str) -> str:
    lines = [f"pool/{name}"]
    lines += [
        f"  {instance.id}  {instance.phase}, {used_gpus(view.replicas, instance.id)} of {instance.offer.gpu} used"
        for instance in view.live_instances
        if instance.pool == name
    ]
    return "\n".join(lines) + "\n"


def _events(events: Sequence[Event]) -> str:
    if not events:
        return ""
    return "\n" + "".join(f"  {event_line(event)}\n" for event in events)
