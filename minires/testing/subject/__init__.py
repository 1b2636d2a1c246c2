"""What is checked: a function and its gradient, their arguments, and what messages call them."""
