"""Korean words as people type them: their letters, what stands behind nouns, and the forms of verbs.

Rules by the surface alone, without a dictionary, so that every adapter can follow them: they rather find
too much than too little, and what they find ranks behind the very form. Pure.
"""
