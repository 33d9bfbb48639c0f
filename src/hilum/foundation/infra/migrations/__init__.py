"""Migrations: one linear history of the control plane's tables, the same on SQLite and PostgreSQL."""
