"""Measurements. Each module says what it measures, on what, and writes JSON to benchmarks/results/."""
