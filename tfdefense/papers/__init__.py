"""Tables of papers, measured again. A paper is a CSV file of the accuracies that it prints and a TOML file that
maps its names to registered classifiers, attacks and defences; `reproduce.py` runs everything."""
