"""Anakin: one update, mapped over a device mesh, and the plain-Python loop around it (Hessel et al. 2021)."""
