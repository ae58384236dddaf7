"""Sweeps: many runs at once, each a process of its own, watched from one place."""
