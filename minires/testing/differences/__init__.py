"""The method of `check_vjp`: measure derivatives along lines by finite differences, and compare the claimed ones.

In reading order; each file uses only files above it:

- `directions`: choose directions in which to move an input, such that steps are exact in floating point
- `noise`: measure the rounding noise of a function's values
- `ladder`: measure a derivative at many step sizes, with an error bar
- `contract`: check what a vjp promises beside the right values: linear in gy, repeatable, same in every memory order
- `cancellation`: measure the rounding inside a vjp that small moves do not show
- `second_look`: widen the bars of outputs on plateaus, and of outputs whose second derivative jumps
- `compare`: compare the claimed derivative along one direction with the measured one
- `bisection`: search a direction for the elements that show an error
- `kinks`: find where a function has no derivative
- `hints`: guess what kind of mistake a wrong gradient is
- `localise`: find the element at which a gradient is wrong, and describe the error
- `verdict`: choose directions through one input, and decide: right, wrong or inconclusive

`minires.testing.vjp` calls `contract` once, then `verdict` for each input.
"""
