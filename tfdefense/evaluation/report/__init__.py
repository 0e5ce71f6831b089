"""Reports of an evaluation: data, sentences, tables, figures and pages.

Everything that turns measured numbers into something that is read belongs here.
"""
