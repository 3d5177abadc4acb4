"""Where to: the plan of targets, health and affinity."""
