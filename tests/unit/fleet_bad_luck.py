"""Seeded bad luck for a whole fleet in virtual time: every call to a cloud may go wrong, and the controller may die.

The clouds here are more forgetful than real ones: a launch that is delivered again after its machine was terminated
makes the machine anew. Whatever happens, once faults stop each machine has a row and each row that is held a machine.
"""

import random
from collections import Counter
from enum import StrEnum

from fleet_world import NO_STANDBY, World, a_service, an_offer, check_laws, scaled

from fleetctl.model.decisions import Action, Plan, Verb
from fleetctl.model.names import ProviderName

CLOUDS = (ProviderName("aws"), ProviderName("azure"), ProviderName("gcp"))
MOST = 3
CALM_LIMIT_S = 1200.0
"""Every rest after a failure (120 s at most), the consistency window and a boot fit several times."""
LAG_S = 8.0
"""Of listings: within the consistency window of the clouds here."""
CONSISTENCY_S = 10.0


class Luck(StrEnum):
    """What may become of one call to a cloud."""

    BEFORE = "error before it was done"
    AFTER = "done, then an error"
    SLOW = "done, timed out"
    TWICE = "delivered again later"
    THROTTLED = "throttled"
    UNKNOWN_CODE = "unknown code"
    EXPIRED = "credentials expired"
    CAPACITY = "no capacity"
    QUOTA = "quota"
    LAG = "listings late"
    SILENT = "listings fail"
    KILLED = "controller killed"
    LOST = "store lost"


VERDICTS: dict[Luck, tuple[str, bool]] = {
    Luck.BEFORE: ("provider", True),
    Luck.THROTTLED: ("throttled", True),
    Luck.UNKNOWN_CODE: ("provider", True),
    Luck.EXPIRED: ("auth", False),
    Luck.CAPACITY: ("capacity", True),
    Luck.QUOTA: ("quota", False),
}
"""Nothing was done, and the error says so: its code and whether it may be tried again."""
ANY_CALL = (*VERDICTS, Luck.AFTER, Luck.SLOW, Luck.TWICE)


class Killed(BaseException):
    """The controller's process died here."""


class UnluckyWorld(World):
    """A World in which calls go wrong by chance while `unlucky` is above zero."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(
            scaled(a_service("chat", standby=NO_STANDBY), min=1, max=MOST),
            offers=[an_offer(cloud, price=1.0 + place) for place, cloud in enumerate(CLOUDS)],
            consistency_s=CONSISTENCY_S,
        )
        self.checks.append(check_laws)
        self.chance = chance
        self.unlucky = 0.0
        """The share of calls that something happens to."""
        self.dies_after: int | None = None
        """So many actions begin before the controller dies."""
        self.met: Counter[Luck] = Counter()
        self._echoes: list[tuple[float, Action]] = []

    def _begin(self, action: Action) -> None:
        if self.dies_after is not None:
            if self.dies_after == 0:
                raise Killed
            self.dies_after -= 1
        super()._begin(action)

    def _play(self) -> None:
        due = [action for at, action in self._echoes if at <= self.now]
        self._echoes = [(at, action) for at, action in self._echoes if at > self.now]
        for action in due:
            self._done_again(action)
        super()._play()

    def _done_again(self, action: Action) -> None:
        """A request that a proxy or an SDK sends once more; nobody waits for its answer."""
        machine = self.machines.get(action.instance)
        if action.verb is Verb.LAUNCH and machine is not None and machine.gone:
            del self.machines[action.instance]
        super()._attempt(action, self.now)

    def _attempt(self, action: Action, at: float) -> tuple[str | None, bool]:
        if action.verb is Verb.APPLY or self.chance.random() >= self.unlucky:
            return super()._attempt(action, at)
        luck = self.chance.choice(ANY_CALL)
        self.met[luck] += 1
        if luck in VERDICTS:
            return VERDICTS[luck]
        done = super()._attempt(action, at)
        if luck is Luck.TWICE:
            self._echoes.append((at + self.chance.choice((0.0, 5.0, 60.0)), action))
            return done
        return ("unknown_outcome", True) if done[0] is None else done

    def tick(self) -> Plan:
        try:
            return super().tick()
        except Killed:
            self.dies_after = None
            self.now += self.period_s
            self.restart_controller(calls_arrived=self.chance.random() < 0.5)
            return self.plan

    def alive(self) -> set[str]:
        return {key for key, machine in self.machines.items() if not machine.gone}


def fleet_bad_luck(seed: int, met: Counter[Luck] | None = None) -> None:
    """One sequence and its judgement. Raises `AssertionError` with the seed."""
    chance = random.Random(seed)
    world = UnluckyWorld(chance)
    try:
        for _ in range(chance.choice((3, 4, 6, 9))):
            _happen(world, chance)
            world.run(chance.choice((2.0, 6.0, 20.0)))
        _judge(world)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    if met is not None:
        met.update(world.met)


def _happen(world: UnluckyWorld, chance: random.Random) -> None:
    world.load(chance.choice((0, 5, 15, 40)))
    world.unlucky = chance.choice((0.0, 0.3, 0.8))
    world.call_s = chance.choice((0.0, 1.0, 5.0))
    world.listing_lag_s = chance.choice((0.0, 0.0, LAG_S))
    world.unreachable = set(chance.sample(CLOUDS, chance.choice((0, 0, 1, 2))))
    world.met[Luck.LAG] += world.listing_lag_s > 0
    world.met[Luck.SILENT] += len(world.unreachable)
    alive = sorted(world.alive())
    match chance.choice(("nothing", "die", "die", "die now", "machine", "store", "down", "up")):
        case "die":
            world.dies_after = chance.choice((0, 1, 2))
            world.met[Luck.KILLED] += 1
        case "die now":
            world.restart_controller(calls_arrived=chance.random() < 0.5)
            world.met[Luck.KILLED] += 1
        case "machine" if alive:
            world.kill_machine(chance.choice(alive))  # type: ignore[arg-type]
        case "store":
            world.lose_store()
            world.met[Luck.LOST] += 1
        case "down":
            world.down("chat")
        case "up":
            world.up(world.intents["chat"].service)  # type: ignore[index]
        case _:
            pass


def _judge(world: UnluckyWorld) -> None:
    """Faults stop: the fleet becomes what is wanted, nothing more, and down leaves nothing."""
    world.unlucky, world.dies_after, world.listing_lag_s, world.unreachable = 0.0, None, 0.0, set()
    world.call_s = 1.0
    world.run(70.0)  # what is delivered again late has come by then
    world.up(world.intents["chat"].service)  # type: ignore[index]
    world.load(15)
    world.period_s = 5.0
    world.run(60.0)  # the load's windows fill
    world.settle(CALM_LIMIT_S)
    wanted = world.desired()
    held = {str(row.id) for row in world.held()}
    assert world.alive() == held, f"leaked {world.alive() - held}, lost {held - world.alive()}\n{world.describe()}"
    assert len(world.ready()) == wanted >= 2, world.describe()
    used = {replica.instance for replica in world.replicas.values()}
    assert held <= {str(one) for one in used}, f"doubled: {held} for {used}\n{world.describe()}"
    world.down("chat")
    world.settle(CALM_LIMIT_S)
    assert world.alive() == set(), f"leaked {world.alive()}\n{world.describe()}"
