"""Floor 4: one short loop, and what is passed into it: gradient methods, optimisers, schedules, checkpoints, logs."""
