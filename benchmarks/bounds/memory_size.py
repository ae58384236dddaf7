"""Players of MemorySize: those of MemoryChain."""

from benchmarks.bounds.memory_chain import memory, memoryless, with_action

__all__ = ["memory", "memoryless", "with_action"]
