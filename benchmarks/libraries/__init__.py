"""The operations of other libraries, as cases for check_libraries.py."""
