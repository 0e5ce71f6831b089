"""Clients of an exported model: in this process (`local_client.py`), over gRPC or REST, and for the images of a
whole folder (`batch_purify.py`)."""
