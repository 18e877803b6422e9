"""The machine that fleetctl itself runs on: its cron, its systemd, the controller's own process. Texts only."""
