"""How Artifacts come to this machine: one Source for each kind."""
