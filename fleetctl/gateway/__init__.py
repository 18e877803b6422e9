"""The gateway. Its hot path runs from a native build, where a current one is there."""

from fleetctl.gateway.native import use

use()
