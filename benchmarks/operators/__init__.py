"""The operators of other libraries as cases for a gradient check; see ../check_operators.py."""
