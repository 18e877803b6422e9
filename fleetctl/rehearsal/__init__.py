"""A real HTTP server that stands for a GPU inference engine in demos and tests, and says so wherever it answers."""
