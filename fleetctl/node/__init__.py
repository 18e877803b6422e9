"""Ways to reach a Node's agent."""
