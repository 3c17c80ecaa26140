"""The scheduler without a chip: a workload, the planner and the time model, in virtual time."""
