"""Pictures: letters and sprites made once in numpy, frames put together in jax.

Everything is laid out on one logical grid of 128 x 128. A frame of side 256 is the
same picture on a grid twice as fine: letters, sprites and tiles are enlarged, continuous
shapes are evaluated at the finer pixel centres.
"""
