"""Replace the live instance by a proven candidate: one engine, one protocol, several managers."""
