"""The tables of papers, run again: each paper is a CSV of what it prints and a TOML of what its names are here."""
