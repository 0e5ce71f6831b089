"""Parts that the exporter and the clients share.

`input_checks.py` checks served images inside the graph; `model_directory.py` has the layout of a
model directory; `class_names.py` reads and writes the names of the classes.
"""
