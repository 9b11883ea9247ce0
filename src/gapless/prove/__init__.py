"""Prove that a deploy lost nothing: open-loop load (`probe`), what it shows (`verdict`), a page of it (`report`).

Import from the modules, so that a verb that only needs samples does not load the template engine.
"""
