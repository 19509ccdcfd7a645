"""Floor 5: one room per task: data, model, loss, metric and how to decode, put together; no loop of its own."""
