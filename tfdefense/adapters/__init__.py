"""Adapters to other toolboxes.

`art` and `foolbox` give classifiers and defended pipelines to these toolboxes. `art_attacks`,
`cleverhans_attacks` and `foolbox_attacks` bring attacks of these libraries into our reports.

Each needs its toolbox: `pip install '.[art]'`, `pip install '.[foolbox]'`. cleverhans
comes with the package.
"""
