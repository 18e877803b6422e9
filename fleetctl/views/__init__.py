"""What the store tells of the fleet, as rows, figures and pictures: for the commands and the dashboard alike."""
