"""Many hosts, from one machine, through Ansible: which hosts, in which order, and what becomes of all together."""
