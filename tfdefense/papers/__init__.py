"""Tables of papers, measured again; `reproduce.py` runs everything.

A paper is a CSV file of the accuracies that it prints and a TOML file that maps its names to
registered classifiers, attacks and defences.
"""
