"""Verbs over the hosts of a fleet: which are meant (choice.py), what is shown of all (board.py), and each verb."""
