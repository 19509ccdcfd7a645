"""Text models of characters or bytes."""
