#!/bin/sh
# Runs a server that follows another one. Where its folder ($PGDATA) is empty it is filled first, from
# the server that $PRIMARY names (a connection string), which keeps what it has not
# got in the slot $SLOT. Then it becomes the command that it is given.
set -eu
: "${PGDATA:?}" "${PRIMARY:?}" "${SLOT:?}"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	find "$PGDATA" -mindepth 1 -delete # what a broken copy left
	slot="--create-slot"
	if psql "$PRIMARY dbname=postgres" -XAtc "select slot_name from pg_replication_slots" | grep -qx "$SLOT"; then slot=; fi
	pg_basebackup -d "$PRIMARY" -D "$PGDATA" -X stream -R -S "$SLOT" $slot --checkpoint=fast --no-password
	chmod 0700 "$PGDATA"
fi
exec "$@"
