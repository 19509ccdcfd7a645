"""Floor 2b: runs a spec over time. Never names a cell; `dispatch` asks each backend, and each says yes or why not."""
