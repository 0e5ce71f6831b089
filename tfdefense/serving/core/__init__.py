"""Parts that the exporter and the clients share: the checks of served images (`input_checks.py`) and the
layout of a model directory (`model_directory.py`)."""
