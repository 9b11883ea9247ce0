"""How alembic reaches the database: as the app does."""

from alembic import context
from notes.tables import Base, engine

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
