"""Runs the benches of one or of all subjects, one after another, and says at the end what of their goals was met.

python bench/run.py [SUBJECT ...]: each bench/SUBJECT_*.py is a process of its own; its JSON lines go on to stdout. One
that ends badly does not keep the others from running. Exit code: 1 if one ended badly, also when every goal was met; a
goal that was missed is told, and is no failure: this is a measurement.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    known = sorted(HERE.glob("*_*.py"))
    subjects = sorted({path.name.partition("_")[0] for path in known})
    asked = sys.argv[1:] or subjects
    if unknown := sorted(set(asked) - set(subjects)):
        print(f"error: no bench of {', '.join(unknown)}; there are {', '.join(subjects)}", file=sys.stderr)
        return 2
    rows: list[dict[str, object]] = []
    ends: list[tuple[str, float, int]] = []
    for path in known:
        if path.name.partition("_")[0] not in asked:
            continue
        print(f"\n== bench/{path.name}", file=sys.stderr, flush=True)
        began = time.monotonic()
        with subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            for line in running.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                if line.startswith("{"):
                    rows.append(json.loads(line))
        ends.append((path.stem, time.monotonic() - began, running.returncode))
    summarise(rows, ends)
    return int(any(code for *_, code in ends))


def summarise(rows: list[dict[str, object]], ends: list[tuple[str, float, int]]) -> None:
    print("\nmet   value        goal         measure", file=sys.stderr)
    for row in rows:
        if row["goal"] is not None:
            met = {True: "yes", False: "NO", None: "-"}[row["ok"] if isinstance(row["ok"], bool) else None]
            value = "-" if row["value"] is None else f"{row['value']:.5g}"
            name = f"{row['bench']}: {row['measure']}, {row['unit']}"
            print(f"{met:5} {value:12} {row['goal']!s:12} {name}", file=sys.stderr)
    print("\nended  took     bench", file=sys.stderr)
    for name, took_s, code in ends:
        print(f"{'well' if code == 0 else f'BADLY {code}':6} {took_s:6.0f} s {name}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
