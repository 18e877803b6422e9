"""What `gc` writes: what it found to be nobody's, and what it gave back."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fleetctl.model.instances import Instance, InstancePhase, Wanted
from fleetctl.model.names import InstanceId
from fleetctl.model.orphans import Orphan
from fleetctl.store.documents import by_key, decode, encode
from fleetctl.store.transactions import Transactions


class GcSide(Transactions):
    """Written without the Lease: `gc` works beside a controller, and where there is none."""

    def orphans(self) -> Mapping[str, Orphan]:
        """What was found to be nobody's when `gc` last looked, by key."""
        with self._read() as transaction:
            rows = transaction.rows("SELECT name, doc FROM orphans ORDER BY name")
        return by_key(rows, str, Orphan)

    def put_orphans(self, orphans: Iterable[Orphan]) -> None:
        """What is found to be nobody's now, in place of what was."""
        rows = [(orphan.key, encode(orphan)) for orphan in orphans]
        with self._write() as transaction:
            transaction.run("DELETE FROM orphans")
            transaction.many("INSERT INTO orphans (name, doc) VALUES (?, ?)", rows)

    def given_back(self, instances: Iterable[InstanceId], *, at: float) -> None:
        """Instances that `gc` terminated: their rows end as those that a controller terminates do."""
        with self._write() as transaction:
            for key in instances:
                rows = transaction.rows("SELECT doc FROM instances WHERE id = ? AND over_at IS NULL", (key,))
                for row in rows:
                    known = decode(Instance, row[0])
                    ended = replace(known, wanted=Wanted.TERMINATED, phase=InstancePhase.TERMINATING, phase_at=at)
                    transaction.run("UPDATE instances SET doc = ? WHERE id = ?", (encode(ended), key))
