"""The systemd manager: the held socket is a socket unit, each instance a service unit, the commit a drop-in."""
