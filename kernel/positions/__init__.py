"""What is true of a position: entries folded into it, and the harvests and stops that are due."""
