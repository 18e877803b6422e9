"""What engines compile on this Node: kept under the key of all that it depends on, put back before the next start."""
