"""From waiting rows to settled ones: planner, sender, settlement."""
