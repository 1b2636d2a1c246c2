"""Write down a few lines of Python that show a wrong derivative in a fresh interpreter.

Such a snippet either runs and shows the wrong derivative, or it contains ``...`` and a comment that says what to put
there. Read in this order: `literals`, `source`, `definitions`, `snippet`.
"""
