"""The Hugging Face token on its way to the nodes that fetch gated models.

It is read from HF_TOKEN where the controller runs, put into a desired state at the last moment, and goes over the one
channel to the node (SSH, or a socket that its owner alone may open). The node keeps it in a file that its owner alone
may read, gives it to the hub and to nobody else: no engine, no user-data, no command line, no log and no store has it.
What `hf auth login` left is not taken: who shares a token with machines shall have said so.
"""

import os
from dataclasses import replace

from fleetctl.model.nodes import NodeDesired

VARIABLE = "HF_TOKEN"


def with_hub_token(desired: NodeDesired) -> NodeDesired:
    """The desired state with the token, where it names a model of the hub."""
    token = os.environ.get(VARIABLE, "").strip()
    fetches = any(artifact.kind == "weights" and artifact.name.startswith("hf://") for artifact in desired.artifacts)
    return replace(desired, hub_token=token) if token and fetches else desired
