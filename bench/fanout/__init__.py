"""The machines and programs of `coldstart_fanout.py`."""
