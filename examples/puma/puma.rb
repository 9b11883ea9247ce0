# The held socket, whatever its address: a rehearsal has another one.
bind_to_activated_sockets "only"
# With the queue puma keeps idle connections, and closes them at once when it is told to end: a request that is just
# under way on one is lost. Without it, every response says Connection: close.
queue_requests false
threads 4, 16
environment ENV.fetch("RACK_ENV", "production")
# It ends on SIGTERM as asked: no failure.
raise_exception_on_sigterm false
# Whoever is not answered by then gets 503.
force_shutdown_after Float(ENV.fetch("GAPLESS_STREAMS", "300"))
