"""Training and inference on several replicas (devices) and several workers (processes).

Strategies, collective calls between workers, and batches that are shared by all of them.
"""
