"""Wrong gradients, and right ones that are awkward to check: what a gradient checker is measured on."""
