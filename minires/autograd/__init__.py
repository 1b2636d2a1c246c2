"""The engine: tensors that remember where they came from, and the walk back. Read tensor, op, backward."""
