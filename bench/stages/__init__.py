"""Parts of `coldstart_stages.py`."""
