"""The policy `auto`: sizes a fleet to the promise with nothing tuned by hand.

`brain.step` is the whole of it: what was kept, what is seen now and the time go in, a wish and what to keep come out.
"""
