"""Notices: what this machine's cloud says of its end, read on the machine itself.

Asked from elsewhere over SSH, every few seconds, a notice of thirty seconds would be half over before it was read.
"""
