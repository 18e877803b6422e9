"""The node agent: takes the whole desired state of one machine and converges to it by itself.

Run as `python -m fleetctl.agent`. It outlives the controller, and its engines outlive it: an agent killed at any
moment and started again takes up the engines that run, and never starts one twice.
"""
