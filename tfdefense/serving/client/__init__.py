"""Clients of an exported model, in this process and over gRPC or REST.

`batch_purify.py` sends the images of a folder through any of them.
"""
