"""Releases: where they are kept, where they come from, and the steps that deploy, roll back and prune them."""
