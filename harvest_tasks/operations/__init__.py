"""What an operator reads and does, behind the commands."""
