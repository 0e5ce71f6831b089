"""Writers of exported models: the serving signatures, the SavedModel or TFLite file, warm-up requests and the
model card. `export.py` calls the others."""
