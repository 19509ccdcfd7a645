"""Text models of characters or bytes: settings, model, measure, run, report. Does not import torch by itself."""
