"""Rendering: fonts, sprites and tiles made once in NumPy, frames composed in jax.

The layout is on a logical grid of 128 x 128. A frame of side 256 is the same picture on a grid twice as fine: letters,
sprites and tiles are enlarged, continuous shapes are evaluated at the finer pixel centres.
"""
