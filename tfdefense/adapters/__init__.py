"""Adapters that give classifiers and defended pipelines to other toolboxes.

Each needs its toolbox: `pip install tfdefense[art]`, `pip install tfdefense[foolbox]`.
"""
