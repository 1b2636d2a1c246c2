"""Kernels for the CPU: the reference's functions, blocked, threaded and fused."""

__all__: list[str] = []
