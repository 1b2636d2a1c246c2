"""The engine: tensors that record how they were computed, and the backward pass.

Read tensor.py, op.py, ownership.py and backward.py, in this order.
"""
