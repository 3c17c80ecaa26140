"""SQL, one file per table family: functions over a connection, for SQLite and PostgreSQL alike. No rules live here."""
