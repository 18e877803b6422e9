"""`fleetctl describe` (Look): Everything about one service, replica, instance or pool.

Example: fleetctl describe service/chat
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from fleetctl.cli.fleet_gateways import gateway_lines
from fleetctl.cli.fleet_gateways import told as gateways_told
from fleetctl.cli.output import Format, Output, coloured, document, picture_width, write
from fleetctl.cli.session import Session, event_line, session
from fleetctl.cli.subjects import subject_of
from fleetctl.cli.tiers import tiers_of, told
from fleetctl.decide import trial
from fleetctl.errors import NotFound
from fleetctl.model.decisions import Event
from fleetctl.model.instances import Instance
from fleetctl.model.names import ReplicaId
from fleetctl.model.replicas import Replica, Stage
from fleetctl.model.services import Pool
from fleetctl.model.starts import Start, attributed
from fleetctl.store import SqlStore
from fleetctl.views.explanation import explained
from fleetctl.views.figures import ago, dollars
from fleetctl.views.fleet import FleetView, replica_rows, service_rows
from fleetctl.views.holds import clock
from fleetctl.views.starts import documented, drawn, whole

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
        kind, _, name = subject_of(subject, view, past=lambda: _replicas_past(now.store)).partition("/")
        events = list(now.store.events(subject=f"{kind}/{name}", limit=EVENTS_SHOWN))
        body, text = _described(now, view, kind, name)
        if kind in ("service", "pool"):
            if kind == "service":
                lines = gateway_lines(now.store, view.at, view.replicas_of(name))
                text += "".join(f"  {sentence}\n" for sentence in gateways_told(lines))
                body = {**body, "gateways": lines} if isinstance(body, dict) and lines else body
            found = tiers_of(view, now.config, now.store.starts(), kind, name)
            text += told(found)
            body = {**body, "tiers": found} if isinstance(body, dict) else body
        if output is Format.NAME:
            sys.stdout.write(f"{kind}/{name}\n")
        elif output is not Format.TABLE:
            document(body, output)
        else:
            write(text + _events(events))


def _replicas_past(store: SqlStore) -> list[str]:
    """Those whose starts are remembered."""
    return [f"replica/{one.replica}" for one in store.starts()]


def _described(now: Session, view: FleetView, kind: str, name: str) -> tuple[object, str]:
    match kind:
        case "service":
            return _service(view, name)
        case "replica":
            for replica in view.replicas:
                if replica.id == name:
                    start = whole(replica)
                    body = {**msgspec.to_builtins(replica), "start": None if start is None else documented(start)}
                    return body, _replica(view, replica)
            for past in reversed(now.store.starts(replica=ReplicaId(name), limit=1)):
                return {"start": documented(past)}, _past(past)
        case "instance":
            for instance in view.instances:
                if instance.id == name:
                    return instance, _instance(view, instance)
        case "pool":
            pools = {str(pool.name): pool for pool in view.pools}
            for intent in view.intents:
                pools.setdefault(str(intent.service.pool_name), view.pool_of(intent))
            if name in pools:
                return pools[name], _pool(now, view, pools[name])
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
            *_image(service.image, row.image),
            f"  endpoint  {row.endpoint}",
            f"  replicas  {row.ready} ready, {row.booting} on their way, {row.desired} decided"
            f" (min {scaling.min}, max {scaling.max}, step {scaling.step})",
            f"  standby   {row.standby_ready} of {row.standby_wanted} {row.tier}"
            + (f": {row.standby_why}" if row.standby_why else ""),
            f"  policy    {scaling.preset}: {service.target_concurrency:g} of {service.concurrency} requests a replica",
            f"  price     {dollars(row.price_per_hour)}/h",
            f"  revision  {intent.revision}",
            *(
                [f"  labels    {', '.join(f'{label}={value}' for label, value in service.labels)}"]
                * bool(service.labels)
            ),
            "",
        ]
        if row.labels:
            lines.insert(-1, f"  labels    {', '.join(f'{label}={value}' for label, value in row.labels.items())}")
        if row.rollout is not None:
            lines.insert(-1, f"  rollout   {trial.told(row.rollout)[0]}")
        if intent.override is not None:
            until = "" if intent.override.until is None else f" until {clock(intent.override.until, view.at)}"
            lift = f"fleetctl resume {name}" if intent.override.held else f"fleetctl scale {name}=auto"
            lines.insert(-1, f"  override  {intent.override.replicas} by hand{until}; lift it: {lift}")
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


def _image(name: str | None, pinned: str) -> list[str]:
    """The image as the file has it, and the digest that the fleet runs."""
    if name is None:
        return []
    digest = pinned.partition("@")[2]
    said = digest if digest else "not resolved yet: the first node that pulls it says what it is"
    return [f"  image     {name.partition('@')[0]} ({said})"]


def _replica(view: FleetView, replica: Replica) -> str:
    ready = "not ready" if replica.ready_at is None else f"ready after {replica.ready_at - replica.created_at:.1f} s"
    lines = [
        f"replica/{replica.id}  {replica.role} {replica.phase}, {ready} from {replica.origin}",
        f"  service   {replica.service}, revision {replica.revision}",
        f"  instance  {replica.instance or '-'}, GPUs {','.join(map(str, replica.gpus)) or '-'}",
        f"  address   {replica.address or '-'}",
        f"  age       {ago(view.at - replica.created_at)}",
        "",
        *_waterfall(replica.stages, since=replica.created_at, start=whole(replica)),
    ]
    return "\n".join(lines) + "\n"


def _waterfall(stages: Sequence[Stage], *, since: float, start: Start | None) -> list[str]:
    if not stages:
        return ["no stages: it was there when it was wanted"] if start is not None else ["no stages yet"]
    lines = drawn(stages, since=since, width=picture_width(), colour=coloured())
    if start is not None and start.took_s > 0:
        lines.append(f"{attributed(start):.1%} of its {start.took_s:.1f} s lie in these stages")
    return lines


def _past(start: Start) -> str:
    """A start of a Replica that is no more."""
    ended = f"ready after {start.took_s:.1f} s" if start.outcome == "ready" else f"failed after {start.took_s:.1f} s"
    lines = [
        f"replica/{start.replica}  is no more; {ended} from {start.origin}",
        f"  service   {start.service}, revision {start.revision}",
        f"  instance  {start.instance or '-'}, {start.machine or '?'} {start.gpu} at {start.provider or '?'}",
    ]
    if start.reason:
        lines.append(f"  failure   {start.reason}")
    return "\n".join([*lines, "", *_waterfall(start.stages, since=start.decided_at, start=start)]) + "\n"


def _instance(view: FleetView, instance: Instance) -> str:
    offer = instance.offer
    lines = [
        f"instance/{instance.id}  {instance.phase}, wanted {instance.wanted}",
        f"  pool      {instance.pool}",
        f"  machine   {offer.instance_type} {offer.gpu} at {offer.provider}, {offer.zone}, {offer.market}",
        f"  price     {dollars(offer.price_per_hour)}/h ({offer.price_source})",
        f"  GPUs      {view.used_gpus(instance.id)} of {offer.gpu.count} used",
        f"  age       {ago(view.at - instance.created_at)}",
    ]
    if instance.notice is not None:
        heeded = "drains" if instance.reclaimed else "a hint: left where standby is at hand"
        lines.append(f"  notice    {instance.notice.told(view.at)}; {heeded}")
    if instance.failure:
        lines.append(f"  failure   {instance.failure}")
    lines += [f"  replica   {one.id} {one.role} {one.phase}" for one in view.replicas if one.instance == instance.id]
    return "\n".join(lines) + "\n"


def _pool(now: Session, view: FleetView, pool: Pool) -> str:
    from fleetctl.cli.pool import pool_list

    name = str(pool.name)
    row = next(one for one in pool_list(now).rows if one.name == name)
    where = f" at {', '.join(pool.placement.providers)}" if pool.placement.providers else ""
    lines = [
        f"pool/{name}  {row.state}",
        f"  machines  {' or '.join(map(str, pool.gpu))}{where}, {'+'.join(pool.placement.markets)}, at most {pool.max}",
        f"  there     {row.instances}, {row.ready} of them ready; {row.gpus_used} of {row.gpus} GPUs used",
        f"  standby   {row.standby}",
        f"  price     {dollars(row.price_per_hour)}/h",
        f"  services  {', '.join(row.services) or '-'}",
        "",
    ]
    lines += [
        f"  {instance.id}  {instance.phase}, {view.used_gpus(instance.id)} of {instance.offer.gpu} used"
        for instance in view.live_instances
        if instance.pool == name
    ]
    return "\n".join(lines) + "\n"


def _events(events: Sequence[Event]) -> str:
    if not events:
        return ""
    return "\n" + "".join(f"  {event_line(event)}\n" for event in events)
