"""What makes a machine ready for the project: run by make, never by nwscan."""
