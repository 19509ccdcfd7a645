"""Forecasts of time series: baselines, recurrent models, backtests, reports."""
