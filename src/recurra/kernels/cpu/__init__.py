"""The native CPU engine: any cell as a compiled loop. `program` says what runs, `emit` writes it, `engine/` runs it."""
