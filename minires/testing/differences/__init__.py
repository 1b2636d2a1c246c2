"""The method: derivatives measured along lines by finite differences, and compared with the claimed ones.

In reading order:

- `inputs`: check the inputs one after the other
- `verdict`: choose lines through one input, and decide: right, wrong or inconclusive
- `compare`: compare the claimed derivative along one line with the measured one
- `ladder`: measure a derivative at many step sizes, each value with an error bar
- `noise`: measure the rounding noise of a function's values
- `directions`: choose directions whose steps are exact in floating point
- `cancellation`, `second_look`, `hidden_kinks`: rule out reasons for a difference other than a wrong gradient
- `contract`: check what a vjp promises beyond its values: linear in gy, repeatable, independent of memory order
- `bisection`, `elements`, `localise`, `hints`: find the wrong element and say what the error looks like
- `branches`: compare the branches that the operations of a graph took
"""
