"""The process that keeps the ways to machines reached over SSH: one connection each, for everybody in this home.

It is a process of its own for the gateway's sake: engines listen on their machine's own loopback, and their ports are
forwarded to this computer's here, so that requests keep flowing while commands and controllers come and go. Commands
speak to it over a Unix socket, start it when it is not there, and `fleetctl down` ends it with the gateway.
"""
