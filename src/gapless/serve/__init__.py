"""The app server: uvicorn's protocols on sockets that others hold, with a check of its own and a careful drain.

load → start-up → private socket → check → warm-up → accept → READY=1 … SIGTERM → drain → stop
In between it may stand by (drain its connections, but stay) and resume.
"""
