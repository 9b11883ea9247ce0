# The held socket, whatever its address; else all is as puma has it.
bind_to_activated_sockets "only"
