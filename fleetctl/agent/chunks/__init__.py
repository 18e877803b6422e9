"""Artifacts in chunks: fetched in parallel from an origin or along a chain of Nodes, verified, published as a whole."""
