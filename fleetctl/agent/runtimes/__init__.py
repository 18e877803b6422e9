"""How a Node runs engines: as plain processes, or in containers."""
