"""Call a user's function and gradient: convert and check what goes in and comes out, and name it in messages.

In reading order:

- `names`: what messages call the arguments of a function
- `arguments`: convert and check the arguments of a check
- `pair`: call a function and its gradient with care
- `fixed_arguments`: fix the arguments that are not arrays
"""
