"""The host side of a run: loop, checkpoints, metrics, signals, processes."""
