"""The functional core: `plan(snapshot)` and what it is made of. No clock, file, socket, random, log or environment."""
