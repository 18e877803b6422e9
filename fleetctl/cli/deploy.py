"""`fleetctl deploy` (Change): Roll out another image or model of a service that is up.

Example: fleetctl deploy chat --image vllm/vllm-openai:v0.9.2 --yes
"""

import shlex
import sys
import time
from dataclasses import replace
from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, Timeout, Yes, keep, told_dry
from fleetctl.cli.following import agree, follow
from fleetctl.cli.output import Format, Output, document, say
from fleetctl.cli.planning import write_differences
from fleetctl.cli.session import duration_s, known_service, session
from fleetctl.engines import command, engine
from fleetctl.errors import Conflict, UsageError
from fleetctl.model.services import Service
from fleetctl.views.differences import differences
from fleetctl.wiring import lease_is_live

app = typer.Typer(add_completion=False)


@app.command()
def deploy(
    service: Annotated[str, typer.Argument(help="The service")],
    image: Annotated[str | None, typer.Option("--image", help="Container image, best by digest")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Weights, as in a file's model")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until the new revision serves alone")] = True,
    timeout: Timeout = "15m",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Change the image or the model of a service that is up, and watch it come in. All else stays as declared.

    Other changes, and those that shall stay, belong into its file: fleetctl up rolls them out in the same way.
    """
    from fleetctl.spec.revision import revision

    if image is None and model is None:
        raise UsageError("nothing to deploy", hint=f"fleetctl deploy {service} --image IMAGE, or --model MODEL")
    timeout_s = duration_s(timeout)
    with session(change=not dry_run) as now:
        name = known_service(now, service)
        intent = next(one for one in now.store.intents()[0] if one.service.name == name)
        if not intent.up:
            raise Conflict(f"{name} is down", hint=f"fleetctl up {name}")
        changed = _changed(intent.service, image, model)
        to = revision(changed)
        given = (("--image", image), ("--model", model))
        words = [f"{option} {shlex.quote(word)}" for option, word in given if word is not None]
        again = " ".join([f"fleetctl deploy {name}", *words])
        if dry_run:
            write_differences(differences(f"service/{name}", intent.service, changed), output)
            told_dry()
            return
        agree(now, changed, yes=yes, again=again)
        keep(now, again.removeprefix("fleetctl "), [name])
        now.store.put_service(changed, revision=to, at=time.time())
        say(f"{name}: {intent.revision} → {to}")
        say("its file is as it was: write it there too, or the next `fleetctl up` takes it back")
        if wait:
            follow(now, name, to, timeout_s=timeout_s, resume=f"fleetctl rollout status {name} --watch")
        elif not lease_is_live(now.store, time.time()):
            say("stored; no controller is running to act on it: fleetctl daemon start")
        if output is Format.NAME:
            sys.stdout.write(f"service/{name}\n")
        elif output is not Format.TABLE:
            document({"service": name, "before": intent.revision, "revision": to, "done": wait}, output)


def _changed(service: Service, image: str | None, model: str | None) -> Service:
    """The Service with the new image or model. Raises `UsageError` where its engine cannot run that."""
    for option, word in (("--image", image), ("--model", model)):
        if word is not None and (not word or word.split() != [word]):
            raise UsageError(f"{option} {word!r} is no {option.removeprefix('--')}", hint="it is one word")
    if image is not None and service.image is None:
        raise UsageError(
            f"{service.name} runs as a plain process, without an image",
            hint=f"write image: {image} into its file, and run: fleetctl up {service.name}",
        )
    made = replace(service, image=image or service.image, model=model or service.model)
    command(engine(made.engine), made)  # refuses here what it would refuse on the node
    return made
