"""What things cost, measured, printed and drawn; nothing here passes or fails."""
