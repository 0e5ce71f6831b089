"""A defended pipeline inside other toolboxes; each needs its toolbox: `pip install tfdefense[art]`."""
