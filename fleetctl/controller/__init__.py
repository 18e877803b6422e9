"""The imperative shell: observe, decide, record, act; tick by tick, under the Lease."""
