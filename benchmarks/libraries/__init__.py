"""The operations of other people's libraries, as cases for check_libraries.py."""
