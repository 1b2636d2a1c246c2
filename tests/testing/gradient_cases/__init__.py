"""Cases to measure a gradient checker on: wrong gradients, and right ones that are hard to check."""
