"""Writers of exported models: signatures, SavedModel, TFLite file, warm-up requests, model card.

`export.py` calls the others.
"""
