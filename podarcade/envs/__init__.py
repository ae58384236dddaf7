"""Environments: games, their fully and partially observable twins, rendering, and adapters to other libraries."""
