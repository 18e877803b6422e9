"""Container images: why one could not be had, which are kept, and how Nodes give them to each other in chunks."""
