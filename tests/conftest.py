"""What all tests share: worlds and stand-ins importable in every import mode, and how Hypothesis searches."""

import os
import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "unit"))

# A check that gates a change gives the same answer every time; by hand, each run looks somewhere else.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("by-hand", deadline=None)  # a shared machine pauses whenever it likes
settings.load_profile("ci" if os.environ.get("CI") else "by-hand")
