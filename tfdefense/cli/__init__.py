"""Command lines: one module a command, with its flags in front of `tfdefense.experiments` and others."""
