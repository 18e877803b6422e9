"""The dashboard: reads the store, writes intents. Textual is imported here and nowhere else."""
