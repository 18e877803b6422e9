"""What several providers share; no provider itself."""
