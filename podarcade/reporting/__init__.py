"""Figures, clips and summaries of runs."""
