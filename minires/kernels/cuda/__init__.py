"""Kernels for CuPy. So far the reference kernels serve there; this set holds what will replace them."""

__all__: list[str] = []
