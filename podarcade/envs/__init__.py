"""Environments: games, twins, rendering, and the interfaces other libraries expect."""
