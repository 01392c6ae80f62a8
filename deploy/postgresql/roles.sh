#!/bin/sh
# Makes the roles of the daemons and of the standby, and the database. The image runs it at the
# first start; elsewhere run it once as the user postgres on the server.
# Passwords are read from files, and stand in no command line and no log.
set -eu
: "${LICENSED_PASSWORD_FILE:?}" "${REPLICATION_PASSWORD_FILE:?}"
psql -v ON_ERROR_STOP=1 --no-psqlrc -q -U postgres -d postgres <<'SQL'
\set licensed `cat "$LICENSED_PASSWORD_FILE"`
\set replication `cat "$REPLICATION_PASSWORD_FILE"`
set synchronous_commit = local; -- there is no standby yet
set log_statement = 'none';
create role licensed login password :'licensed';
create role replication login replication password :'replication';
select not exists (select from pg_database where datname = 'licensed') as missing \gset
\if :missing
create database licensed owner licensed encoding 'UTF8' locale 'C.UTF-8' template template0;
\else
alter database licensed owner to licensed;
\endif
SQL
# In public everybody may look; the tables are the daemons' alone.
psql -v ON_ERROR_STOP=1 --no-psqlrc -q -U postgres -d licensed <<'SQL'
set synchronous_commit = local;
revoke all on database licensed from public;
alter schema public owner to licensed;
SQL
