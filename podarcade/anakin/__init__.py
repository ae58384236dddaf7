"""The device side of a run: one update, one evaluation, and the mesh they are mapped over."""
