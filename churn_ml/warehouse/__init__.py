"""The only room that speaks to Postgres: endpoint, roles, migrations, COPY streams."""
