"""Floor 6b: batteries that hold somebody's own work to what ours is held to."""
