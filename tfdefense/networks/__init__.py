"""What defences are built from: Keras networks, activations and losses."""
